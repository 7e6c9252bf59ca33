"""Doors: the platform's own, other packages' by entry point, anything by module:attribute."""

import importlib

import pytest

from lwd_core.plugins import DOORS, Door, PluginError, others
from tests.packages import Install

DOOR: Door = Door("lwd.test_colours", {"dumps": "json:dumps"}, kind="colour")


def test_own_and_others_by_one_name(install: Install) -> None:
    install("acme", "def red(): return 'red'", test_colours={"red": "acme:red"})
    assert DOOR.names() == ["dumps", "red"]
    assert DOOR.get("red")() == "red"
    assert DOOR.get("dumps")({}) == "{}"
    assert [name for name, _ in DOOR.all()] == ["dumps", "red"]


def test_a_member_is_known_by_its_package(install: Install) -> None:
    install("acme", "def red(): ...", test_colours={"red": "acme:red"})
    assert DOOR.others() == ["red"]
    assert (DOOR.package("red"), DOOR.module("red")) == ("acme 1.2", "acme")
    assert DOOR.package("dumps").startswith("lwd ")
    assert (DOOR.package("json:loads"), DOOR.module("json:loads")) == ("json", "json")


def test_an_address_is_taken_only_from_the_user() -> None:
    assert DOOR.get("json:loads")("1") == 1
    with pytest.raises(PluginError, match=r"json:loads: no colour of that name\. There are "):
        DOOR.get("json:loads", addresses=False)


def test_a_name_that_is_not_there_says_which_are(install: Install) -> None:
    install("acme", "def red(): ...", test_colours={"red": "acme:red"})
    with pytest.raises(
        PluginError, match=r"no colour of that name; did you mean dumps\? There are dumps, red;"
    ):
        DOOR.get("dump")
    with pytest.raises(PluginError, match=r"no colour of that name\. There are dumps, red;"):
        DOOR.get("violet")


def test_a_name_of_two_packages_is_neithers_and_all_else_is_there(install: Install) -> None:
    install("acme", "red = 1", test_colours={"red": "acme:red"})
    install("other", "red = 2\nblue = 3", test_colours={"red": "other:red", "blue": "other:blue"})
    assert DOOR.names() == ["dumps", "blue"]
    assert DOOR.get("blue") == 3
    with pytest.raises(PluginError, match=r"red: both \w+ 1.2 and \w+ 1.2"):
        DOOR.get("red")
    assert list(DOOR.clashes()) == ["red"]


def test_nobody_takes_the_place_of_our_own(install: Install) -> None:
    install("acme", "red = 1", test_colours={"dumps": "acme:red", "red": "acme:red"})
    assert DOOR.get("dumps")({}) == "{}"
    assert DOOR.get("red") == 1
    assert "both lwd and acme 1.2" in DOOR.clashes()["dumps"]


def test_an_installed_member_that_is_not_what_it_says_is_named(install: Install) -> None:
    def sound(name: str, found: object) -> None:
        if found != name:
            raise PluginError(f"it calls itself {found}")

    door: Door = Door("lwd.test_colours", {}, kind="colour", sound=sound)
    install("acme", "red = 'blue'", test_colours={"red": "acme:red"})
    with pytest.raises(PluginError, match=r"^colour red \(acme:red of acme 1.2\): it calls itself blue$"):
        door.get("red")
    assert door.get("acme:red") == "blue"


def test_an_address_that_leads_nowhere_is_said_once() -> None:
    with pytest.raises(PluginError, match=r"^colour nowhere:x can't be imported: ModuleNotFoundError: \S"):
        DOOR.get("nowhere:x")


def test_what_others_add_is_loaded_as_its_door_does(install: Install) -> None:
    install("kind", "class Npz:\n    def write(self): ...", exporters={"zip": "kind:Npz"})
    install(
        "acme",
        "seen = 1",
        checks={"seen": "acme:seen"},
        exporters={"lerobot": "acme:seen"},
        reader={"a": "acme:a"},
    )
    found, broken = others()
    assert "exporter zip of kind 1.2" in found
    assert [line for line in broken if "acme" in line] == [
        "check seen (acme:seen of acme 1.2) has no layer_id, kind, source_digest, description, label",
        "lwd.exporters lerobot: both lwd and acme 1.2 have one of that name; "
        "uninstall one or rename its entry point",
        "lwd.reader of acme 1.2: no such door; did you mean lwd.readers?",
    ]


def test_every_door_is_listed_where_it_is() -> None:
    for group, address in DOORS.items():
        module, _, name = address.partition(":")
        assert getattr(importlib.import_module(module), name).group == group


def test_a_package_that_fails_is_named(install: Install) -> None:
    install("acme", "raise OSError('no licence file')", test_colours={"red": "acme:red"})
    with pytest.raises(PluginError, match=r"red \(acme:red of acme 1.2\).*OSError: no licence file"):
        DOOR.get("red")


def test_a_package_that_prints_or_ends_the_process_does_neither(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", "print('welcome')\nred = 1", test_colours={"red": "acme:red"})
    install("other", "raise SystemExit('gone')", test_colours={"blue": "other:blue"})
    assert DOOR.get("red") == 1
    assert capsys.readouterr() == ("", "welcome\n")
    with pytest.raises(
        PluginError, match=r"blue \(other:blue of other 1.2\).*asked to end the process \(gone\)"
    ):
        DOOR.get("blue")


def test_what_is_missing_is_named() -> None:
    door: Door = Door("lwd.test_colours", {"dumps": "json:dumps"}, needs=("read",), kind="reader")
    with pytest.raises(PluginError, match="has no read"):
        door.get("dumps")
