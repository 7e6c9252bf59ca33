"""Any sound log drafts a file that loads and that reads a valid row from the log, or says why not."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import simplejpeg
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import START, Log, Sink, saved, stamp
from tests.lwd_core.logs.ros_logs import ROS, array, flag, joints, picture, trajectory, twist

JPEG = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
WORDS = [
    "left",
    "right",
    "arm",
    "joint_states",
    "state",
    "cmd",
    "policy_action",
    "image_raw",
    "compressed",
    "a b",
    "ü",
    "Left",
    "0",
]


@dataclass(frozen=True)
class Stream:
    """One topic: what kind of messages, how wide, how often, from when on (share of its period)."""

    topic: str
    kind: str
    width: int
    hz: float
    phase: float
    joints: tuple[str, ...]


NUMBERS = ["json vector", "json numbers", "proto vector", "joints", "array", "twist", "trajectory"]
KINDS = [*NUMBERS, "proto image", "image", "flag"]

streams = st.builds(
    Stream,
    topic=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda p: "/" + "/".join(p)),
    kind=st.sampled_from(KINDS),
    width=st.integers(1, 6),
    hz=st.sampled_from([2.0, 10.0, 29.97, 50.0, 100.0]),
    phase=st.floats(0, 0.9),
    joints=st.lists(st.text(min_size=1, max_size=6), min_size=6, max_size=6, unique=True).map(tuple),
)


def write(log: Log, one: Stream, k: int, t: int) -> None:
    values = np.sin(k / 9 + np.arange(one.width))
    names = list(one.joints[: one.width])
    if one.kind == "proto vector":
        log.write(one.topic, Vector(timestamp=stamp(t), values=values), t)
    elif one.kind == "proto image":
        log.write(one.topic, CompressedImage(timestamp=stamp(t), data=JPEG, format="jpeg"), t)
    elif one.kind.startswith("json"):
        channel = log.channel(one.topic, one.topic, "jsonschema", "json", b"{}")
        said: Any = (
            {"q": values.tolist()} if one.kind == "json vector" else dict(zip("abcdef", values, strict=False))
        )
        log.raw(channel, json.dumps(said).encode(), t)
    else:
        message = ros(one, values, names, t)
        kind = message.__msgtype__
        text, _ = ROS.generate_msgdef(kind, ros_version=2)
        channel = log.channel(one.topic, kind, "ros2msg", "cdr", text.encode())
        log.raw(channel, bytes(ROS.serialize_cdr(message, kind)), t)


def ros(one: Stream, values: np.ndarray, names: list[str], t: int) -> Any:
    if one.kind == "joints":
        return joints(t, names, values.tolist())
    if one.kind == "array":
        return array(values.tolist())
    if one.kind == "twist":
        return twist(float(values[0]), float(values[-1]))
    if one.kind == "image":
        return picture(t, JPEG)
    if one.kind == "trajectory":
        return trajectory(t, names, values.tolist())
    return flag(bool(values[0] > 0))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(streams, min_size=1, max_size=5, unique_by=lambda s: s.topic), st.floats(2.5, 4))
def test_any_sound_log_drafts_what_reads_it(several: list[Stream], seconds: float):
    log = Log({})
    said = sorted(
        (START + round((k + one.phase) / one.hz * 1e9), i, k)
        for i, one in enumerate(several)
        for k in range(int(seconds * one.hz))
    )
    for t, i, k in said:
        write(log, several[i], k, t)
    with TemporaryDirectory() as folder:
        source = LogSource(saved(Path(folder), log.finish()))
        if not any(s.kind in NUMBERS for s in several):
            with pytest.raises(UnreadableLog, match=r"\Ano topic holds numbers.*\Z"):
                infer(source)
            return
        text = render(infer(source, "bot"))
        content = read_log(source, {"bot": parse_embodiment(text)}, Sink())
    assert content.salvaged is None
    valid = any(any(e.steps["valid"].to_pylist()[: e.actions]) for e in content.episodes)
    why = [note for note in content.notes if re.search(r"^0 of \d+ rows valid \(.+\)$", note)]
    assert valid or why, text


def test_what_a_policy_proposes_is_the_action_where_there_is_no_other(tmp_path: Path):
    log = Log({})
    for k in range(100):
        log.write("/state", Vector(values=[k]), START + k * 20_000_000)
        log.write("/policy/action", Vector(values=[k]), START + k * 20_000_000 + 6_000_000)
    draft = infer(LogSource(saved(tmp_path, log.finish())), "bot")
    assert [(f.topic, f.delay_ms) for f in draft.action] == [("/policy/action", 6)]
    assert "what the policy proposes is the only action found; is it what was executed?" in draft.open


def test_a_log_of_proposals_alone_drafts_them_as_state(tmp_path: Path):
    log = Log({})
    for k in range(100):
        log.write("/policy/action", Vector(values=[k]), START + k * 20_000_000)
    draft = infer(LogSource(saved(tmp_path, log.finish())), "bot")
    assert [f.topic for f in draft.state] == ["/policy/action"]
    assert any(question.startswith("NO ACTION was found") for question in draft.open)
