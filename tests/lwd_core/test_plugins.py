"""Doors: the platform's own, other packages' by entry point, anything by module:attribute."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lwd_core import plugins
from lwd_core.plugins import Door, PluginError

DOOR: Door = Door("lwd.test_colours", {"dumps": "json:dumps"}, kind="colour")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lay a package with entry points beside this one, as pip would."""
    plugins._others.cache_clear()

    def lay(package: str, code: str, **points: str) -> None:
        root = tmp_path / package
        about = root / f"{package}-1.2.dist-info"
        about.mkdir(parents=True)
        (root / f"{package}.py").write_text(code)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {address}" for name, address in points.items()]
        (about / "entry_points.txt").write_text("\n".join(["[lwd.test_colours]", *lines, ""]))
        monkeypatch.syspath_prepend(str(root))
        plugins._others.cache_clear()

    yield lay
    plugins._others.cache_clear()
    for name in ("acme", "other"):
        sys.modules.pop(name, None)


def test_own_and_others_by_one_name(install: Callable[..., None]) -> None:
    install("acme", "def red(): return 'red'", red="acme:red")
    assert DOOR.names() == ["dumps", "red"]
    assert DOOR.get("red")() == "red"
    assert DOOR.get("dumps")({}) == "{}"
    assert [name for name, _ in DOOR.all()] == ["dumps", "red"]


def test_a_member_is_known_by_its_package(install: Callable[..., None]) -> None:
    install("acme", "def red(): ...", red="acme:red")
    assert DOOR.others() == ["red"]
    assert (DOOR.package("red"), DOOR.module("red")) == ("acme 1.2", "acme")
    assert DOOR.package("dumps").startswith("lwd ")
    assert (DOOR.package("json:loads"), DOOR.module("json:loads")) == ("json", "json")


def test_an_address_is_taken_only_from_the_user() -> None:
    assert DOOR.get("json:loads")("1") == 1
    with pytest.raises(PluginError, match=r"json:loads: no colour of that name\. There are "):
        DOOR.get("json:loads", addresses=False)


def test_a_name_that_is_not_there_says_which_are(install: Callable[..., None]) -> None:
    install("acme", "def red(): ...", red="acme:red")
    with pytest.raises(PluginError, match="did you mean dumps"):
        DOOR.get("dump")


def test_a_name_twice_is_refused(install: Callable[..., None]) -> None:
    install("acme", "def red(): ...", red="acme:red")
    install("other", "def red(): ...", red="other:red")
    with pytest.raises(PluginError, match=r"red: both \w+ 1.2 and \w+ 1.2"):
        DOOR.names()


def test_nobody_takes_the_place_of_our_own(install: Callable[..., None]) -> None:
    install("acme", "def dumps(): ...", dumps="acme:dumps")
    with pytest.raises(PluginError, match="both lwd and acme 1.2"):
        DOOR.get("red")


def test_a_package_that_fails_is_named(install: Callable[..., None]) -> None:
    install("acme", "raise OSError('no licence file')", red="acme:red")
    with pytest.raises(PluginError, match=r"red \(acme:red of acme 1.2\).*OSError: no licence file"):
        DOOR.get("red")


def test_what_is_missing_is_named() -> None:
    door: Door = Door("lwd.test_colours", {"dumps": "json:dumps"}, needs=("read",), kind="reader")
    with pytest.raises(PluginError, match="has no read"):
        door.get("dumps")
