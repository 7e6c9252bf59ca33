"""What a person wrote is read, or refused in one line that says where."""

from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lwd_core import config_file
from lwd_core.errors import UserError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weight: float = Field(1.0, gt=0)


class _Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    days: tuple[str, ...] = ()
    parts: tuple[_Part, ...] = ()


WHOLE = TypeAdapter(_Whole)


def read(tmp_path, text: str, name: str = "mine.yaml"):
    file = tmp_path / name
    file.write_text(text)
    return config_file.check(WHOLE, config_file.read(file, "a file with a name"), file.name)


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ndays: [2026-01-05]\nparts: [{weight: 1e-4}]",
        '{\n\t"name": "a",\n\t"days": ["2026-01-05"],\n\t"parts": [{"weight": 0.0001}]\n}',
    ],
)
def test_yaml_and_json_are_read_alike(tmp_path, text):
    assert read(tmp_path, text) == _Whole(name="a", days=("2026-01-05",), parts=(_Part(weight=1e-4),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("days: []", "mine.yaml:1: name: is missing; add it"),
        ("name: a\nday: []", "mine.yaml:2: day: no such field; did you mean days?"),
        ("name: a\nxyz: 1", "mine.yaml:2: xyz: no such field; remove it"),
        (
            "name: a\nparts:\n  - weight: 1\n  - weight: -1",
            "mine.yaml:4: parts[1].weight: input should be greater than 0, not -1",
        ),
        (
            "name: a\nparts: [{flavour: 1}]\nname2: b",
            "mine.yaml:2: parts[0].flavour: no such field; remove it; "
            "mine.yaml:3: name2: no such field; did you mean name?",
        ),
    ],
)
def test_a_fault_names_line_field_and_remedy(tmp_path, text, said):
    with pytest.raises(UserError) as refused:
        read(tmp_path, text)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", ":1: not YAML"),
        ('{"name": "a",\n "days" 1}', ":2: not YAML"),
        ("name: a\nname: b", ":2: not YAML"),
        ("- a", ":1: must be a mapping"),
        ("", ":1: must be a mapping"),
        ("a: &x [*x]", "mine.yaml"),
    ],
)
def test_what_is_no_such_file_is_one_line(tmp_path, text, said):
    with pytest.raises(UserError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_says_what_to_give(tmp_path):
    with pytest.raises(
        UserError, match=r"none.yaml: cannot be read \(No such file .*give the path of a spec"
    ):
        config_file.read(tmp_path / "none.yaml", "a spec")


def test_plain_values_have_no_line():
    with pytest.raises(UserError) as refused:
        config_file.check(WHOLE, {"name": 3}, "run online")
    assert str(refused.value) == "run online: name: input should be a valid string, not 3"


def test_sections_are_laid_over_each_other():
    below, above = {"a": 1, "in": {"b": 2, "c": 3}}, {"in": {"c": 4}, "d": 5}
    assert config_file.over(below, above) == {"a": 1, "in": {"b": 2, "c": 4}, "d": 5}


def test_a_dataclass_says_which_field_it_refuses():
    @dataclass(frozen=True)
    class Small:
        size: int = 1

        def __post_init__(self) -> None:
            if self.size < 1:
                raise ValueError("size: at least 1")

    with pytest.raises(UserError) as refused:
        config_file.check(TypeAdapter(Small), {"size": 0}, "run x")
    assert str(refused.value) == "run x: size: at least 1"
