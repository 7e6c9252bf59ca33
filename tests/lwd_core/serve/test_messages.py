"""What strangers send is read strictly, in bounded memory."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.serve.messages import BadMessage, pack, unpack
from tests.lwd_core.serve.robots import packed, unpacked


def array(**parts):
    whole = {b"__ndarray__": True, b"data": b"1234", b"dtype": "<f4", b"shape": [1]}
    return msgpack.packb({"x": whole | {name.encode(): value for name, value in parts.items()}})


def test_arrays_come_and_go_as_openpi_packs_them() -> None:
    sent = {
        "state": np.arange(3.0),
        "images": {"top": np.arange(24, dtype=np.uint8).reshape(2, 4, 3)},
        "gain": {b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f4"},
        "none": np.zeros((0, 3), np.int64),
        "prompt": "go",
    }
    fields = unpack(packed(sent))
    assert list(fields) == ["state", "images/top", "gain", "none", "prompt"]
    assert (fields["state"] == np.arange(3.0)).all()
    assert (fields["images/top"] == sent["images"]["top"]).all()
    assert (fields["gain"], fields["none"].shape, fields["prompt"]) == (2.5, (0, 3), "go")
    back = unpacked(pack({"actions": np.ones((2, 3), np.float32), "n": {"a": 1}}))
    assert back["actions"].dtype == np.float32
    assert back["actions"].shape == (2, 3)
    assert back["n"] == {"a": 1}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "message: no msgpack .*send one map"),
        (b"\xc1", r"message: no msgpack \(FormatError\)"),
        (msgpack.packb({"a": 1})[:-1], "message: no msgpack"),
        (msgpack.packb({"a": 1}) + b"x", "extra data"),
        (msgpack.packb([1]), "message: a list; send a map"),
        (msgpack.packb({1: 2}), "strict_map_key"),
        (msgpack.packb({"t": msgpack.Timestamp(1)}), "t: a Timestamp; send numbers"),
        (msgpack.packb({"t": msgpack.ExtType(3, b"")}), "an extension of type 3"),
        (b"\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\xdf\xff\xff\xff\xff", "max_map_len"),
        (b"\x91" * 100_000, "message: no msgpack"),
        (msgpack.packb({"a": [[{}] * 4000] * 20}), "more than 65536 items"),
        (msgpack.packb({"a": {"b": {"c": {"d": {"e": 1}}}}}), "a/b/c/d: maps within maps"),
        (msgpack.packb({"a": {"b": 1}, "a/b": 1}), "a/b: given twice"),
        (b"\x82\xa1a\x01\xa1a\x02", "a map with a name twice"),
        (msgpack.packb({"a" * 101: 1}), "a name of 101 letters"),
        (msgpack.packb({b"\xff": 1}), "a name that is no text"),
        (msgpack.packb({"a": "x" * 70_000}), "max_str_len"),
        (array(dtype="|O"), r"x: dtype \|O; send one of uint8"),
        (array(dtype=">f4"), "x: dtype >f4"),
        (array(dtype=["<f4"]), "x: dtype"),
        (array(dtype="<f4,<f4"), "x: dtype"),
        (array(dtype=None), "x: dtype None"),
        (array(data="1234"), "x: an array without bytes"),
        (array(shape=3), "x: shape 3"),
        (array(shape=[2]), r"x: 4 bytes for float32 of shape \(2,\)"),
        (array(shape=[-1]), r"x: shape \[-1\]"),
        (array(shape=[True]), r"x: shape \[True\]"),
        (array(shape=[2**62, 2**62]), "x: shape"),
        (array(shape=[1] * 5), "4 sizes at most"),
        (array(data=b"", shape=[0, 2**63 - 1]), "x: shape"),
    ],
)
def test_what_is_none_names_field_and_remedy(data: bytes, match: str) -> None:
    with pytest.raises(BadMessage, match=match) as said:
        unpack(data)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 400


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for head in (b"", b"\x82\xa5state", b"\x81\xa1x\x84\xc4\x0b__ndarray__\xc3\xc4\x04data"):
        try:
            unpack(head + data)
        except BadMessage:
            continue
