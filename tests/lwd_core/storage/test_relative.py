"""Places are stored relative to their root and found again below another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.errors import UserError
from lwd_core.storage.relative import below, relative, resolve, stored

NAME = st.text("abc #%:é.-", min_size=1).filter(lambda name: name not in (".", "..") and "//" not in name)


@given(
    st.sampled_from(["/data/home/policies", "/", "s3://bucket", "s3://bucket/a b"]),
    st.lists(NAME, min_size=1),
)
def test_a_place_below_its_root_is_the_same_place_below_any_root(root: str, parts: list[str]):
    inside = "/".join(parts)
    place = f"{root.rstrip('/')}/{inside}"
    kept = stored(root, place)
    assert kept == inside
    assert relative(kept)
    assert resolve(root, kept) == place
    assert resolve("/elsewhere", kept) == f"/elsewhere/{inside}"


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ("/data/policies", "/data/policies2/x"),
        ("/data/policies", "/data"),
        ("/data/policies", "/data/policies/../other/x"),
        ("/data/policies", "s3://bucket/x"),
        ("s3://bucket/a", "s3://bucket/ab/x"),
        ("s3://bucket/a", "/bucket/a/x"),
    ],
)
def test_what_lies_elsewhere_keeps_its_full_address(root: str, place: str):
    assert below(root, place) is None
    assert not relative(stored(root, place))
    assert resolve("/another", stored(root, place)) == stored(root, place)


def test_a_stored_place_does_not_lead_out_of_its_root():
    with pytest.raises(UserError, match="leads out of /data"):
        resolve("/data", "a/../../etc")


def test_the_root_itself(monkeypatch: pytest.MonkeyPatch, tmp_path):
    assert below("/data/", "/data") == ""
    monkeypatch.chdir(tmp_path)
    assert stored("policies", "policies/3f") == "3f"
    assert resolve("policies", "3f") == f"{tmp_path}/policies/3f"
