"""Where checks and labels come from, and what is refused."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.labels.registry import Broken, chosen, find, installed
from tests.packages import EXAMPLES, Install

LABEL = """
from lwd_core.labels import label

@label("{0}", version=1)
def say(episode):
    return 1
"""


def names(found: list) -> list[str]:
    return [one.name if isinstance(one, Broken) else one.layer_id for one in found]


def test_the_platforms_own_run_by_default() -> None:
    labellers, broken = chosen([])
    assert names(labellers) == ["reward.sparse@1", "outcome.recorded@1", "quality@1", "pictures@1"]
    assert broken == []


def test_a_layers_name_is_one_too() -> None:
    assert names(find("pictures@1")) == ["pictures@1"]
    with pytest.raises(UserError, match="pictures@7: no check or label of that name"):
        find("pictures@7")


def test_an_installed_package_is_there_by_name_and_by_default(install: Install) -> None:
    install("labels")
    assert names(installed()) == ["kitchen.effort@1", "kitchen.calm@1"]
    assert names(find("kitchen.calm")) == ["kitchen.calm@1"]
    assert names(chosen([])[0])[4:] == ["kitchen.effort@1", "kitchen.calm@1"]
    assert names(chosen(["kitchen.calm", "kitchen_labels:calm"])[0]) == ["kitchen.calm@1"]


def test_a_file_gives_what_it_defines(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(LABEL.format("one") + LABEL.format("two").replace("say", "tell"))
    assert names(find(str(own))) == ["one@1", "two@1"]
    assert names(find(f"{own}:two")) == ["two@1"]
    assert names(find(str(EXAMPLES / "label.py"))) == ["hand.low@1", "hand.phase@1", "hand.moves@1"]


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("f.py", None, "f.py: no such file"),
        ("f.py", "import json", "no check or label there; put @label"),
        ("f.py", "1 / 0", "f.py: can't be run: ZeroDivisionError"),
        ("f.py", "def", "f.py: can't be run: SyntaxError"),
        ("f.py", LABEL.format("quality"), "quality is a layer of the platform's own; choose another name"),
        ("f.py", LABEL.format("value.mine"), "value.mine is a layer of the platform's own"),
        ("f.py:b", LABEL.format("a"), "no check or label b; there are a"),
        ("f.py", LABEL.format("a") + LABEL.format("a").replace("say", "tell"), "a is there twice"),
        ("spil", None, "spil: no check or label of that name; there are"),
        ("json:dumps", None, "has no layer_id"),
    ],
)
def test_what_is_none_is_said(tmp_path: Path, monkeypatch, what: str, code: str | None, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    if code is not None:
        Path("f.py").write_text(code)
    with pytest.raises(UserError, match=said):
        find(what)


def test_one_that_is_broken_leaves_the_others(install: Install) -> None:
    install("labels")
    install("acme", "raise OSError('no licence')", labels={"acme.spill": "acme:spill"})
    install("other", LABEL.format("x"), labels={"other.y": "other:say"})
    found = installed()
    assert names(found) == ["acme.spill", "kitchen.effort@1", "other.y", "kitchen.calm@1"]
    assert "OSError: no licence" in found[0].reason
    assert "it calls itself x; give its entry point the same name" in found[2].reason
    with pytest.raises(UserError, match="no licence"):
        find("acme.spill")


def test_two_of_one_name_are_refused_and_the_platforms_own_go_on(install: Install) -> None:
    install("acme", LABEL.format("a"), labels={"a": "acme:say"}, checks={"a": "acme:say"})
    install("labels")
    found = installed()
    assert names(found) == ["a", "kitchen.effort@1", "kitchen.calm@1"]
    assert "there is a check and a label of that name" in found[0].reason
    install("other", LABEL.format("quality"), checks={"quality": "other:say"})
    assert names(installed()) == ["a", "kitchen.effort@1", "quality", "kitchen.calm@1"]
    assert "both lwd and other 1.2" in installed()[2].reason
    assert names(chosen([])[0])[:3] == ["reward.sparse@1", "outcome.recorded@1", "quality@1"]
    assert names(find("quality")) == ["quality@1"]
