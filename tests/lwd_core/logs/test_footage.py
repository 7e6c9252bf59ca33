"""Videos sent frame by frame become pictures, each at its own message's time."""

import base64
import json
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo

from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.footage import Footage
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved, stamp

FRAMES, EVERY = 12, 6  # a key frame every 6


@cache
def video(codec: str, b_frames: int = 0) -> tuple[bytes, ...]:
    """Frames of which the brightness tells the number: frame i is 20 i grey."""
    context = av.CodecContext.create({"h264": "libx264", "hevc": "libx265"}[codec], "w")
    context.width, context.height, context.pix_fmt = 64, 48, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, 30), Fraction(30), EVERY
    x265 = f"keyint={EVERY}:bframes=0:log-level=none:repeat-headers=1"
    quick = {} if b_frames else {"tune": "zerolatency", "forced-idr": "1", "x265-params": x265}
    context.options = {"bf": str(b_frames), "sc_threshold": "0", **quick}
    packets = []
    for i in range(FRAMES):
        picture = np.full((48, 64, 3), i * 20, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = i
        packets += context.encode(frame)
    packets += context.encode(None)
    return tuple(bytes(p) for p in packets)


def shown(footage: Footage[int], messages: dict[int, bytes]) -> dict[int, int]:
    """Numbers of pictures, told by their brightness, by the stamp of the message they came in."""
    found = [pair for i, data in messages.items() for pair in footage.feed(data, i)]
    found += footage.flush()
    return {i: round(float(simplejpeg.decode_jpeg(jpeg).mean()) / 20) for i, jpeg in found}


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_every_frame_is_shown_at_its_own_stamp(codec: str):
    footage: Footage[int] = Footage(codec)
    assert shown(footage, dict(enumerate(video(codec)))) == {i: i for i in range(FRAMES)}
    assert footage.damage is None
    assert footage.note == f"12 frames of {codec} decoded to JPEG of quality 95"


def test_frames_a_decoder_holds_back_come_with_their_own_stamps():
    footage: Footage[int] = Footage("h264")
    found = shown(footage, dict(enumerate(video("h264", b_frames=2))))
    assert sorted(found.values()) == list(range(FRAMES))
    assert found[0] == 0
    assert all(abs(i - number) <= 3 for i, number in found.items())


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_log_that_begins_within_a_video_begins_at_its_next_key_frame(codec: str):
    footage: Footage[int] = Footage(codec)
    found = shown(footage, dict(list(enumerate(video(codec)))[2:]))
    assert found == {i: i for i in range(EVERY, FRAMES)}
    assert footage.damage is None
    assert "4 before the first key frame left out" in footage.note


def test_after_a_frame_that_does_not_decode_nothing_is_guessed_up_to_the_next_key_frame():
    footage: Footage[int] = Footage("h264")
    messages = dict(enumerate(video("h264")))
    messages[3] = b"no video at all"
    assert list(shown(footage, messages)) == [0, 1, 2, *range(EVERY, FRAMES)]
    assert footage.damage == "3 frames of h264 do not decode (not Annex B: no start code), left out"


def test_videos_in_a_log_are_drafted_and_read_as_cameras(tmp_path: Path):
    log = Log({})
    text = log.channel("/head/video", "sensor_msgs/CompressedImage", "jsonschema", "json", b"{}")
    for i in range(FRAMES):
        t = START + i * PERIOD
        log.write("/state", Vector(timestamp=stamp(t), values=[i, 1]), t)
        log.write("/action", Vector(timestamp=stamp(t), values=[i]), t)
        frame = CompressedVideo(timestamp=stamp(t), data=video("h264")[i], format="h264", frame_id="wrist")
        log.write("/wrist/video", frame, t)
        said = {"format": "h265", "data": base64.b64encode(video("hevc")[i]).decode()}
        log.raw(text, json.dumps(said).encode(), t)
    source = LogSource(saved(tmp_path, log.finish()))
    draft = parse_embodiment(render(infer(source, "bot")))
    assert [c.name for c in draft.cameras] == ["head", "wrist"]
    content = read_log(source, {"bot": draft}, sink := Sink())
    assert content.salvaged is None
    assert "camera wrist: 12 frames of h264 decoded to JPEG of quality 95" in content.notes
    (episode,) = content.episodes
    assert [f["camera"] for f in episode.steps["frames"][7].as_py()] == ["head", "wrist"]
    for camera in ("head", "wrist"):
        grey = [float(simplejpeg.decode_jpeg(d).mean()) for c, _, d in sink.frames if c == camera]
        np.testing.assert_allclose(grey, np.arange(FRAMES) * 20, atol=4)
