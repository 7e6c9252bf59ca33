from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.errors import UserError
from lwd_core.logs.embodiment import load_embodiment, load_embodiments, parse_embodiment

SHIPPED = Path(__file__).parents[3] / "lwd_core" / "fleet" / "sim" / "embodiments"

GOOD = """\
name: arm
control_hz: 50
state:
  - topic: /joints
    field: position
    dims:
      - {name: j1, unit: rad, low: -3.14, high: 3.14}
      - {name: j2, unit: rad}
"""


def test_the_shipped_sawyer_describes_39_state_and_4_action_dims():
    sawyer = load_embodiment(SHIPPED / "sawyer.yaml")
    assert len(sawyer.state_dims) == 39
    assert [(d.low, d.high) for d in sawyer.action_dims] == [(-1.0, 1.0)] * 4
    assert sawyer.control_hz == 80
    assert sawyer.period_ns == 12_500_000
    assert sawyer.cameras[0].name == "corner2"
    assert not sawyer.cameras[0].required


def test_the_documented_file_is_one():
    text = (Path(__file__).parents[3] / "docs/embodiments.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    assert parse_embodiment(example).name == "wheeled"


def test_a_short_file_is_enough():
    arm = parse_embodiment(GOOD)
    assert arm.state_dims[0].high == 3.14
    assert arm.topics == {"/joints"}


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("control_hz: 50", "control_hz: fast", 2, "control_hz", "fast"),
        ("unit: rad, low: -3.14", "unti: rad, low: -3.14", 7, "state[0].dims[0].unti", "no known field"),
        ("name: arm\n", "", 1, "name", "is missing"),
        ("high: 3.14", "high: -4", 7, "state[0].dims[0]", "low must be below high"),
        ("name: j2", "name: j1", 1, "file", "named twice"),
        ("field: position", "field: a[", 4, "state[0]", "no field path"),
        ("field: position", "field: a[].b[]", 4, "state[0]", "no field path"),
        ("control_hz: 50", "control_hz: 0", 1, "file", "control_hz"),
        ("    field: position", "    field: [", 6, "no valid YAML", ""),
    ],
)
def test_errors_name_file_line_field_and_remedy(old: str, new: str, line: int, field: str, words: str):
    with pytest.raises(UserError) as caught:
        parse_embodiment(GOOD.replace(old, new), "arm.yaml")
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"arm.yaml:{line}: ") or field == "no valid YAML"
    assert field in first
    assert words in first


def test_a_folder_gives_embodiments_by_name_and_refuses_a_name_given_twice(tmp_path: Path):
    assert load_embodiments(tmp_path / "absent") == {}
    (tmp_path / "a.yaml").write_text(GOOD)
    assert list(load_embodiments(tmp_path)) == ["arm"]
    (tmp_path / "b.yaml").write_text(GOOD)
    with pytest.raises(UserError, match="already given"):
        load_embodiments(tmp_path)


def test_a_missing_file_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        load_embodiment(tmp_path / "none.yaml")


@given(
    place=st.integers(0, len(GOOD)),
    cut=st.integers(0, 12),
    put=st.text("{}[]:,-&*!|>?'\"\n\t 0aé", max_size=6),
)
def test_any_text_is_a_file_or_an_explained_error(place: int, cut: int, put: str):
    with suppress(UserError):
        parse_embodiment(GOOD[:place] + put + GOOD[place + cut :])
