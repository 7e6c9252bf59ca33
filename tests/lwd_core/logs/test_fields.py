"""Paths into messages of any encoding, and the stamps messages bear."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from lwd_core.logs.fields import NO_STAMP, FieldMissing, HeaderStamps, getter, is_absent, vector
from lwd_core.logs.proto.robot_log_pb2 import Event, Vector
from storage_schemas.embodiment import Dim, Feature


@dataclass
class Time:
    sec: int
    nanosec: int


@dataclass
class Header:
    stamp: Time


@dataclass
class Joint:
    name: str
    position: float
    header: Header | None = None


JOINTS = {"joints": [{"name": "b", "position": 2.0}, {"name": "a", "position": 1.0}], "at": {"x": [5, 6]}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("joints[].position", [2.0, 1.0]),
        ("at.x[1]", 6),
        ("at.x", [5, 6]),
        ("joints[0].name", "b"),
        ("", JOINTS),
    ],
)
def test_paths_into_objects(path: str, found: Any):
    assert getter(path)(JOINTS) == found


def test_paths_into_messages_with_attributes():
    assert getter("header.stamp.sec")(Joint("a", 1.0, Header(Time(7, 8)))) == 7
    assert list(getter("values")(Vector(values=[1, 2]))) == [1, 2]
    assert getter("timestamp.nanos")(Event(timestamp=Timestamp(nanos=5))) == 5


@pytest.mark.parametrize("path", ["nothing", "at.y", "at.x[9]", "joints[].speed", "at.x.y"])
def test_what_is_missing_is_named(path: str):
    with pytest.raises(FieldMissing):
        getter(path)(JOINTS)
    with pytest.raises(FieldMissing):
        getter(path)(Joint("a", 1.0))


def test_vectors_by_place_by_name_and_by_field():
    dims = (Dim("one", key="a"), Dim("two", key="b"))
    by_name = vector(Feature("/t", dims, "joints[].position", "joints[].name"))
    assert by_name(JOINTS) == [1.0, 2.0]
    swapped = {"joints": JOINTS["joints"][::-1]}
    assert by_name(swapped) == [1.0, 2.0]
    with pytest.raises(FieldMissing, match="none of the dims among the names c"):
        by_name({"joints": [{"name": "c", "position": 0.0}]})
    (half,) = is_absent(np.array([by_name({"joints": [{"name": "b", "position": 7.0}]})]))
    assert half.tolist() == [True, False]
    assert not is_absent(np.array([[np.nan, -np.nan]])).any()
    slice_of = vector(Feature("/t", dims, "values", start=1))
    assert list(slice_of(Vector(values=[9, 8, 7, 6]))) == [8, 7]
    with pytest.raises(FieldMissing, match="3 are needed"):
        slice_of(Vector(values=[9, 8]))
    by_field = vector(Feature("/t", (Dim("x", field="at.x[0]"), Dim("y", field="at.x[1]"))))
    assert by_field(JOINTS) == [5.0, 6.0]
    assert is_absent(np.array([by_field({"at": {"x": [5.0]}})])).tolist() == [[False, True]]
    with pytest.raises(FieldMissing):
        by_field({"at": {}})
    assert vector(Feature("/t", (Dim("n"),), "sec"))(Time(3, 4)) == [3]


@pytest.mark.parametrize(
    ("message", "ns"),
    [
        (Event(timestamp=Timestamp(seconds=2, nanos=3)), 2_000_000_003),
        (Joint("a", 1.0, Header(Time(2, 3))), 2_000_000_003),
        ({"header": {"stamp": {"sec": 2, "nanosec": 3}}}, 2_000_000_003),
        ({"timestamp": {"sec": 2, "nsec": 3}}, 2_000_000_003),
        ({"timestamp": 2.5}, NO_STAMP),
        ({}, NO_STAMP),
        (Vector(values=[1]), NO_STAMP),
        (Event(timestamp=Timestamp(seconds=-5)), NO_STAMP),
        (np.zeros(3), NO_STAMP),
    ],
)
def test_stamps(message: Any, ns: int):
    assert HeaderStamps()(message) == ns
