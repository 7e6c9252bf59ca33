import os
from contextlib import suppress
from importlib import resources
from io import BytesIO
from pathlib import Path

import pytest
from grpc_tools import protoc
from hypothesis import given
from hypothesis import strategies as st
from mcap.exceptions import EndOfFile
from mcap.records import Message as McapMessage
from mcap.stream_reader import StreamReader

from lwd_core.errors import UserError
from lwd_core.fleet.recorder import PARTIAL, Recorder, rescue
from lwd_core.fleet.robot import RobotSpec
from lwd_core.logs.proto import robot_log_pb2
from storage_schemas.vocabulary import Actor
from tests.lwd_core.fleet.logs import Log

ROBOT = RobotSpec("arm-07", "south", "sawyer", "lwd-sim")


def record(path: Path, ticks: int) -> None:
    with Recorder(path, ROBOT, None) as log:
        log.event(0, "episode_start", {"task": "push", "source": "rollout", "instruction": "push", "a": "b"})
        for tick in range(ticks):
            log.state(tick, [tick / 3] * 39)
            log.executed(tick, [0.1] * 4)
            log.control(tick, Actor.HUMAN, "", "me")


def test_the_bytes_depend_on_the_content_alone(tmp_path: Path) -> None:
    for name in ("a.mcap", "b.mcap"):
        record(tmp_path / name, 300)
    assert (tmp_path / "a.mcap").read_bytes() == (tmp_path / "b.mcap").read_bytes()


@given(st.lists(st.floats(allow_nan=False), max_size=6), st.integers(0, 2**62), st.text(max_size=9))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, values, t_ns, text) -> None:
    path = tmp_path_factory.mktemp("log") / "a.mcap"
    with Recorder(path, ROBOT, text) as log:
        log.proposed(t_ns, values)
        log.event(t_ns, "note", {"text": text})
        log.image(t_ns, "wrist", b"jpeg")
    read = Log(path)
    assert list(read.messages["/action/proposed"][0].values) == values
    assert read.messages["/action/proposed"][0].timestamp.ToNanoseconds() == t_ns
    assert read.attributes("note") == {"text": text}
    assert read.messages["/camera/wrist"][0].data == b"jpeg"
    assert read.metadata["lwd.robot"]["policy_id"] == text


def test_an_episode_begins_and_ends_in_the_words_readers_know(tmp_path: Path) -> None:
    with Recorder(str(tmp_path / "a.mcap"), ROBOT) as log:
        log.begin(5, "push", source="demonstration", seed="7")
        log.control(5, "human", operator="anna")
        log.end(9, success=False, end="truncated")
    with Recorder(tmp_path / "b.mcap", ROBOT) as log:
        log.begin(5, "push", instruction="push it")
        log.end(9)
    a, b = Log(tmp_path / "a.mcap"), Log(tmp_path / "b.mcap")
    assert (a.events, b.events) == (
        ["episode_start", "failure", "episode_end"],
        ["episode_start", "episode_end"],
    )
    told = {"task": "push", "instruction": "push", "source": "demonstration", "seed": "7"}
    assert (a.attributes("episode_start"), a.attributes("episode_end")) == (told, {"end": "truncated"})
    assert b.attributes("episode_start") == {"task": "push", "instruction": "push it", "source": "rollout"}
    assert (a.messages["/actor"][0].actor, a.messages["/actor"][0].operator) == ("human", "anna")


def test_a_word_no_reader_knows_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.mcap", ROBOT) as log:
        with pytest.raises(UserError, match="actor 'persn': no such word; there are human, policy"):
            log.control(0, "persn")
        with pytest.raises(UserError, match=r"source 'rolout': no such word; did you mean rollout\?"):
            log.begin(0, "push", source="rolout")


def test_a_robot_that_dies_leaves_a_truncated_log_without_a_finished_name(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"

    def dies() -> None:
        with Recorder(path, ROBOT, None) as log:
            for tick in range(400):
                log.state(tick, [float(tick)] * 39)
            raise RuntimeError("power")

    with pytest.raises(RuntimeError):
        dies()
    assert not path.exists()
    assert rescue(tmp_path) == [path]
    assert rescue(tmp_path) == []
    assert path.read_bytes()[-8:] != b"\x89MCAP0\r\n"


def test_what_a_full_disk_left_empty_is_no_log(tmp_path: Path) -> None:
    (tmp_path / f"a.mcap{PARTIAL}").touch()
    assert rescue(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_log_that_a_full_disk_cut_off_is_let_go_of(tmp_path: Path) -> None:
    (tmp_path / f"a.mcap{PARTIAL}").symlink_to("/dev/full")
    before = sorted(os.listdir("/proc/self/fd"))
    log = Recorder(tmp_path / "a.mcap", ROBOT)
    with suppress(OSError):
        log.image(0, "wrist", b"x" * 100_000)
    with pytest.raises(OSError, match="No space left"):
        log.__exit__(None, None, None)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_dying_robot_loses_about_a_second(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.mcap", ROBOT, None) as log:
        for tick in range(400):
            log.state(tick, [float(tick)] * 39)
            log.executed(tick, [0.0] * 4)
            log.control(tick, Actor.POLICY, "p", "")
        # what lies on the disk at this moment is what would be found
        on_disk = (tmp_path / f"a.mcap{PARTIAL}").read_bytes()
    found = []
    with pytest.raises(EndOfFile):
        found.extend(r for r in StreamReader(BytesIO(on_disk)).records if isinstance(r, McapMessage))
    assert 400 - 100 < len(found) / 3 < 400


@pytest.mark.parametrize("hz", [2, 30])
def test_a_slow_robot_loses_no_more(tmp_path: Path, hz: int) -> None:
    with Recorder(tmp_path / "a.mcap", ROBOT, None) as log:
        for tick in range(10 * hz):
            log.state(tick * 1_000_000_000 // hz, [0.0] * 3)
        on_disk = (tmp_path / f"a.mcap{PARTIAL}").read_bytes()
    found = []
    with pytest.raises(EndOfFile):
        found.extend(r for r in StreamReader(BytesIO(on_disk)).records if isinstance(r, McapMessage))
    assert 9 * hz < len(found) <= 10 * hz


def test_the_generated_module_is_the_schemas(tmp_path: Path) -> None:
    source = Path(robot_log_pb2.__file__).parent
    known = resources.files("grpc_tools") / "_proto"
    arguments = ["", f"-I{source}", f"-I{known}", f"--python_out={tmp_path}", "robot_log.proto"]
    assert protoc.main(arguments) == 0
    generated = (tmp_path / "robot_log_pb2.py").read_text()
    assert generated == Path(robot_log_pb2.__file__).read_text()
