from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.snapshots.spec import SnapshotSpec

EXAMPLE = Path(__file__).parents[3] / "examples" / "snapshot.yaml"


def test_the_example_is_a_spec_and_survives_its_json():
    spec = SnapshotSpec.from_yaml(EXAMPLE)
    assert [b.weight for b in spec.buffers] == [3, 1]
    assert SnapshotSpec.model_validate_json(spec.to_json()) == spec


def test_json_does_not_depend_on_the_order_of_fields():
    a = SnapshotSpec.parse({"name": "x", "chunk": 3, "tasks": ["a"]})
    b = SnapshotSpec.parse({"tasks": ["a"], "chunk": 3, "name": "x"})
    assert a.to_json() == b.to_json()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "must be a mapping"),
        ("name: [", "not YAML"),
        ("name: x\nstep: 1", "step: no such field; did you mean n_step"),
        ("name: x\nholdout: 1.5", "holdout"),
        ("name: x\nsources: [dream]", r"sources\[0\]: input should be"),
        ("name: x\ngamma: 0.9\ndiscount: {episode: 0.5}", "gamma, discount: give one of them"),
        ("name: x\ndiscount: {episode: 1}", "discount.episode"),
        ("name: x\nbuffers: [{name: a}, {name: a}]", "used twice"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(tmp_path: Path, text: str, said: str):
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        SnapshotSpec.from_yaml(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="none.yaml: cannot be read"):
        SnapshotSpec.from_yaml(tmp_path / "none.yaml")
