"""A plug-in by its name in a configuration: read, told again, and its faults by their path."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from lwd_core.config_file import faults
from lwd_core.plugins import Door
from lwd_core.rl.chosen import LATER, Chosen, choose, chosen_by, plain, unknown


@dataclass(frozen=True)
class Brush:
    width: float = 1.0
    hairs: tuple[int, ...] = (2, 3)


@dataclass(frozen=True)
class Sponge:
    brush: Annotated[
        Chosen[Brush], chosen_by(Door("lwd.test_inner", {"brush": f"{__name__}:Brush"}), "brush")
    ]


TOOLS: Door = Door(
    "lwd.test_tools", {"brush": f"{__name__}:Brush", "sponge": f"{__name__}:Sponge"}, kind="tool"
)


@dataclass(frozen=True)
class Painter:
    tool: Annotated[Chosen[Brush], chosen_by(TOOLS, "brush")] = field(
        default_factory=lambda: choose(TOOLS, "brush")
    )
    spare: Annotated[Chosen[Brush] | None, chosen_by(TOOLS, None)] = field(default=None, metadata=LATER)


PAINTER = TypeAdapter(Painter)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, Painter()),
        ({"tool": "brush", "spare": None}, Painter()),
        ({"tool": {"width": 2}}, Painter(choose(TOOLS, "brush", width=2.0))),
        ({"spare": {"kind": "brush", "hairs": [1]}}, Painter(spare=choose(TOOLS, "brush", hairs=(1,)))),
        ({"tool": f"{__name__}:Brush"}, Painter(Chosen(f"{__name__}:Brush", Brush()))),
    ],
)
def test_it_is_read_and_told_again(given, made):
    painter = PAINTER.validate_python(given)
    assert painter == made
    assert PAINTER.validate_python(plain(painter)) == painter


def test_a_later_field_is_told_only_where_it_is_set():
    assert plain(Painter()).keys() == {"tool"}
    assert plain(Painter(spare=choose(TOOLS, "brush")))["spare"]["kind"] == "brush"


def test_it_is_told_beside_its_settings():
    assert plain(Painter(choose(TOOLS, "brush", width=2.0)))["tool"] == {
        "kind": "brush",
        "width": 2.0,
        "hairs": (2, 3),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tool": {"width": "w"}}, "it: tool.width: input should be a valid number"),
        (
            {"tool": {"wide": 1, "hair": 2}},
            "it: tool.wide: no such field; did you mean width?; it: tool.hair: no",
        ),
        (
            {"tool": {"kind": "sponge", "brush": {"width": "w"}}},
            "it: tool.brush.width: input should",
        ),
        ({"tool": "bush"}, "it: tool.kind: bush: no tool of that name; did you mean brush?"),
        ({"tool": "json:loads"}, "it: tool.kind: tool json:loads is no dataclass"),
        ({"spare": {"width": 1}}, "it: spare.kind: must be a name, one of brush, sponge"),
    ],
)
def test_a_fault_is_named_by_its_path(given, said):
    with pytest.raises(ValidationError) as error:
        PAINTER.validate_python(given)
    assert faults(error.value, "it").startswith(said)


def test_an_address_is_not_taken_from_outside():
    for given in ({"tool": "json:loads"}, {"tool": {"kind": "sponge", "brush": f"{__name__}:Brush"}}):
        with pytest.raises(ValidationError) as error:
            PAINTER.validate_python(given, context={"addresses": False})
        assert "of that name" in faults(error.value, "it")


def test_what_there_is_no_field_for():
    assert unknown(Painter, {"tool": {"anything": 1}, "colour": "red"}) == ["colour: no such field"]
