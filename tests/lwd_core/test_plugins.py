"""Doors: the platform's own, other packages' by entry point, anything by module:attribute."""

import pytest

from lwd_core.plugins import Door, PluginError, installed
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


def test_a_name_twice_is_refused(install: Install) -> None:
    install("acme", "def red(): ...", test_colours={"red": "acme:red"})
    install("other", "def red(): ...", test_colours={"red": "other:red"})
    with pytest.raises(PluginError, match=r"red: both \w+ 1.2 and \w+ 1.2"):
        DOOR.names()


def test_nobody_takes_the_place_of_our_own(install: Install) -> None:
    install("acme", "def dumps(): ...", test_colours={"dumps": "acme:dumps"})
    with pytest.raises(PluginError, match="both lwd and acme 1.2"):
        DOOR.get("red")


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
    assert [(name, package) for group, name, package in installed() if group == DOOR.group] == [
        ("blue", "other 1.2"), ("red", "acme 1.2")
    ]  # fmt: skip


def test_what_is_missing_is_named() -> None:
    door: Door = Door("lwd.test_colours", {"dumps": "json:dumps"}, needs=("read",), kind="reader")
    with pytest.raises(PluginError, match="has no read"):
        door.get("dumps")
