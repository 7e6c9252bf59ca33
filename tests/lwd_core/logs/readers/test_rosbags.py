"""ROS 1 bags, rosbag2 recordings and ROS payloads in MCAP."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log, reader_of
from lwd_core.logs.readers.rosbag1 import Rosbag1Reader
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved
from tests.lwd_core.logs.ros_logs import bag, joints, twist
from tests.lwd_core.logs.samples import sample

ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_HUMBLE)
STEPS = 120

WHEELED = parse_embodiment("""\
name: wheeled
control_hz: 50
time: {clock: log, ticks: /joints}
state:
  - topic: /joints
    field: position
    names_field: name
    dims: [{name: left, key: wheel_left, unit: rad}, {name: right, key: wheel_right, unit: rad}]
action:
  - topic: /cmd_vel
    dims: [{name: v, field: linear.x, unit: m/s}, {name: w, field: angular.z, unit: rad/s}]
cameras: [{name: front, topic: /front}]
outcome: {topic: /done, field: data}
actor: {topic: /teleop, field: data, human: ["true"]}
""")


def messages(store: Any, types: str, i: int) -> list[tuple[str, Any]]:
    """What the robot says at tick i; joint names come in changing order."""
    T = store.types
    t = START + i * PERIOD
    time = T["builtin_interfaces/msg/Time"](sec=t // 10**9, nanosec=t % 10**9)
    extra = {"seq": i} if types == "ros1" else {}
    header = T["std_msgs/msg/Header"](stamp=time, frame_id="base", **extra)
    values = {"wheel_left": i * 0.5, "wheel_right": -i * 0.25, "caster": 9.0}
    names = sorted(values, reverse=bool(i % 2))
    joints = T["sensor_msgs/msg/JointState"](
        header=header,
        name=names,
        position=np.array([values[n] for n in names]),
        velocity=np.zeros(0),
        effort=np.zeros(0),
    )
    V = T["geometry_msgs/msg/Vector3"]
    twist = T["geometry_msgs/msg/Twist"](linear=V(x=i / 8, y=0.0, z=0.0), angular=V(x=0.0, y=0.0, z=-i / 16))
    said: list[tuple[str, Any]] = [("/joints", joints), ("/cmd_vel", twist)]
    said.append(("/teleop", T["std_msgs/msg/Bool"](data=40 <= i < 60)))
    if i % 10 == 0:
        image = np.frombuffer(b"\xff\xd8jpeg%d" % i, dtype=np.uint8)
        said.append(
            ("/front", T["sensor_msgs/msg/CompressedImage"](header=header, format="jpeg", data=image))
        )
    if i == STEPS - 1:
        said.append(("/done", T["std_msgs/msg/Bool"](data=True)))
    return said


def write1(path: Path, compression: Any = None) -> str:
    writer = Writer1(path)
    if compression:
        writer.set_compression(compression)
    with writer:
        writer.chunk_threshold = 4096
        connections: dict[str, Any] = {}
        for i in range(STEPS):
            for topic, message in messages(ROS1, "ros1", i):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
                writer.write(connections[topic], START + i * PERIOD, ROS1.serialize_ros1(message, kind))
    return str(path)


def write2(path: Path, storage: StoragePlugin, mode: CompressionMode | None = None) -> str:
    writer = Writer2(path, version=9, storage_plugin=storage)
    if mode:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for i in range(STEPS):
            for topic, message in messages(ROS2, "ros2", i):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=ROS2)
                writer.write(connections[topic], START + i * PERIOD, ROS2.serialize_cdr(message, kind))
    return str(path)


def read(uri: str, embodiment: Embodiment = WHEELED, sink: Sink | None = None) -> LogContent:
    return read_log(LogSource(uri), {embodiment.name: embodiment}, sink or Sink())


def check(content: LogContent, sink: Sink) -> None:
    assert content.salvaged is None
    assert content.messages == STEPS * 3 + 12 + 1
    (episode,) = content.episodes
    steps = episode.steps
    i = np.arange(STEPS)
    np.testing.assert_array_equal(np.array(steps["state"].to_pylist()), np.stack([i * 0.5, -i * 0.25], 1))
    np.testing.assert_array_equal(np.array(steps["action"].to_pylist()), np.stack([i / 8, -i / 16], 1))
    assert steps["t_ns"].to_pylist() == [START + k * PERIOD for k in range(STEPS)]
    assert steps["header_ns"].to_pylist() == steps["t_ns"].to_pylist()
    assert (episode.outcome, episode.outcome_from) == ("success", "robot")
    assert episode.segments["first_step"].to_pylist() == [0, 40, 60]
    assert [f for _, _, f in sink.frames] == [b"\xff\xd8jpeg%d" % k for k in range(0, STEPS, 10)]
    assert steps["frames"][15].as_py()[0]["t_ns"] == START + 10 * PERIOD


@pytest.mark.parametrize("compression", [None, Writer1.CompressionFormat.BZ2, Writer1.CompressionFormat.LZ4])
def test_ros1_bags(tmp_path: Path, compression: Any):
    sink = Sink()
    content = read(write1(tmp_path / "a.bag", compression), sink=sink)
    assert content.format == "rosbag1"
    check(content, sink)


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("mode", [None, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_rosbag2_recordings(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode | None):
    if storage is StoragePlugin.MCAP and mode is CompressionMode.FILE:
        mode = CompressionMode.STORAGE
    sink = Sink()
    content = read(write2(tmp_path / "rec", storage, mode), sink=sink)
    assert content.format == "rosbag2"
    check(content, sink)


def test_a_recording_without_metadata_or_definitions_is_read_all_the_same(tmp_path: Path):
    folder = Path(write2(tmp_path / "rec", StoragePlugin.SQLITE3))
    (folder / "metadata.yaml").unlink()
    (database,) = folder.glob("*.db3")
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE message_definitions")
    connection.close()
    sink = Sink()
    check(read(str(folder), sink=sink), sink)
    check(read(str(database), sink=(alone := Sink())), alone)


def recorded(path: Path, first: int = 0, stop: int = 60, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    said = []
    for k in range(first, stop):
        t = START + k * PERIOD
        said += [
            ("/joints", t, joints(t, ["wheel_left", "wheel_right"], [k, -k])),
            ("/cmd_vel", t, twist(k, k)),
        ]
    return bag(path, said, storage)


def test_messages_that_sqlite_keeps_beside_a_database_are_read(tmp_path: Path):
    (whole,) = recorded(tmp_path / "whole", storage=StoragePlugin.SQLITE3).glob("*.db3")
    killed = tmp_path / "killed"
    killed.mkdir()
    work = tmp_path / "work.db3"
    shutil.copy(whole, work)
    with closing(sqlite3.connect(work, isolation_level=None)) as database:
        later = database.execute("SELECT topic_id, timestamp, data FROM messages WHERE id > 40").fetchall()
        database.execute("DELETE FROM messages WHERE id > 40")
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", later)
        for end in ("", "-wal", "-shm"):  # as the disk is when the power goes
            shutil.copy(f"{work}{end}", f"{killed}/bag_0.db3{end}")
    before = {p.name: p.read_bytes() for p in killed.iterdir()}
    for uri in (killed, killed / "bag_0.db3"):
        content = read(str(uri))
        assert (content.messages, content.messages_lost, content.salvaged) == (120, 0, None)
        assert content.episodes[0].actions == 60
    assert {p.name: p.read_bytes() for p in killed.iterdir()} == before
    changes = killed / "bag_0.db3-wal"
    changes.write_bytes(changes.read_bytes()[: changes.stat().st_size * 3 // 5])
    cut = read(str(killed))
    assert 40 <= cut.messages < 120
    assert cut.messages_lost is None
    assert "bag_0.db3-wal ends within a write: its messages are lost" in (cut.salvaged or "")
    changes.unlink()
    told = (whole.parent / "metadata.yaml").read_text().replace(whole.name, "bag_0.db3")
    (killed / "metadata.yaml").write_text(told)
    content = read(str(killed))
    assert (content.messages, content.messages_lost) == (40, 80)
    assert content.salvaged == "the recorder counted 120 messages, 40 can be read"


def split(folder: Path) -> Path:
    """A recording in three parts, without metadata."""
    folder.mkdir()
    for part in range(3):
        (file,) = recorded(folder.parent / f"p{part}", part * 20, part * 20 + 20).glob("*.mcap")
        shutil.copy(file, folder / f"run_{part}.mcap")
    return folder


def test_a_split_recording_without_metadata_is_one_log(tmp_path: Path):
    content = read(str(split(tmp_path / "run")))
    (episode,) = content.episodes
    assert (episode.actions, content.salvaged) == (60, None)
    np.testing.assert_array_equal(np.array(episode.steps["state"].to_pylist())[:, 0], np.arange(60))


def test_a_missing_part_is_named_and_counted(tmp_path: Path):
    folder = split(tmp_path / "run")
    (folder / "run_1.mcap").unlink()
    content = read(str(folder))
    assert (content.salvaged, content.messages_lost) == ("part run_1.mcap is missing", None)
    (tmp_path / "other").mkdir()
    first = split(tmp_path / "other" / "run")
    (first / "run_0.mcap").unlink()
    assert read(str(first)).salvaged == "part run_0.mcap is missing"
    files = "".join(f"  - {{path: run_{k}.mcap, message_count: 40}}\n" for k in range(3))
    head = "rosbag2_bagfile_information:\n  message_count: 120\n  custom_data: {operator: ann}\n  files:\n"
    (folder / "metadata.yaml").write_text(head + files)
    content = read(str(folder))
    assert content.messages_lost == 40
    assert "part run_1.mcap is missing (40 messages)" in (content.salvaged or "")
    assert content.episodes[0].attributes["operator"] == "ann"
    assert content.episodes[0].end == "truncated"


def test_one_part_that_is_nothing_does_not_lose_the_others(tmp_path: Path):
    folder = split(tmp_path / "run")
    (folder / "run_1.mcap").rename(folder / "run_1.mcap.zstd")
    content = read(str(folder))
    assert "part run_1.mcap.zstd: run_1.mcap.zstd does not decompress" in (content.salvaged or "")
    assert content.messages == 80


def test_a_truncated_bag_gives_what_it_holds(tmp_path: Path):
    path = Path(write1(tmp_path / "a.bag"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    content = read(str(path))
    assert "truncated" in (content.salvaged or "") or "index" in (content.salvaged or "")
    (episode,) = content.episodes
    assert 10 < episode.steps.num_rows < STEPS
    n = episode.steps.num_rows
    np.testing.assert_array_equal(np.array(episode.steps["state"].to_pylist())[:, 0], np.arange(n) * 0.5)
    assert episode.end == "truncated"


def test_one_odd_schema_does_not_lose_the_rest(tmp_path: Path):
    log = Log()
    good = log.channel("/joints", "a/msg/J", "ros2msg", "cdr", b"float64[] position\nstring[] name\n")
    odd = log.channel("/cmd_vel", "a/msg/Odd", "ros2msg", "cdr", b"this is no message definition !!!")
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg("float64[] position\nstring[] name\n", "a/msg/J"))
    message = store.types["a/msg/J"](position=np.array([1.0, 2.0]), name=["wheel_left", "wheel_right"])
    for i in range(30):
        log.raw(good, bytes(store.serialize_cdr(message, "a/msg/J")), START + i * PERIOD)
        log.raw(odd, b"\0\1\0\0abcd", START + i * PERIOD)
    uri = saved(tmp_path, log.finish())
    with pytest.raises(UnreadableLog, match=r"no message of /cmd_vel can be read; /cmd_vel: 30 of 30"):
        read(uri)
    passive = parse_embodiment("""\
name: passive
control_hz: 50
time: {ticks: /joints}
state: [{topic: /joints, field: position, dims: [{name: a}, {name: b}]}]
outcome: {topic: /cmd_vel, field: data}
""")
    content = read(uri, passive)
    assert "30 of 30 messages left out" in (content.salvaged or "")
    assert content.episodes[0].steps["state"].to_pylist() == [[1.0, 2.0]] * 30


def test_json_messages(tmp_path: Path):
    arm = parse_embodiment("""\
name: mouse
control_hz: 50
time: {clock: header, ticks: /mouse}
state: [{topic: /mouse, dims: [{name: x, field: at.x}, {name: y, field: "at.y[0]"}]}]
""")
    log = Log()
    channel = log.channel("/mouse", "Mouse", "jsonschema", "json", b"{}")
    for i in range(20):
        t = START + i * PERIOD
        message = {"timestamp": {"sec": t // 10**9, "nsec": t % 10**9}, "at": {"x": i, "y": [-i]}}
        log.raw(channel, json.dumps(message).encode(), t + 777)
    (episode,) = read(saved(tmp_path, log.finish()), arm).episodes
    assert episode.steps["state"].to_pylist() == [[i, -i] for i in range(20)]
    assert episode.steps["t_ns"][3].as_py() == START + 3 * PERIOD


POSES = parse_embodiment("""\
name: tracker
control_hz: 60
time: {ticks: pose_data}
state:
  - topic: pose_data
    dims: [{name: x, field: position.x}, {name: y, field: position.y}, {name: z, field: position.z}]
""")


def test_the_published_bag_reads_alike_in_two_compressions():
    found = []
    for name in ("example-bz2", "example-lz4"):
        with Rosbag1Reader().stream(LogSource(str(sample("bag/rosbagjs", f"{name}.bag")))) as stream:
            found.append([(m[1], bytes(m[3])) for m in stream.messages()])
            assert stream.damage == []
            assert stream.lost == 0
    assert [len(f) for f in found] == [8647, 8647]


def test_published_demonstrations_and_one_with_collapsed_stamps():
    folder = sample("bag/invariants")
    content = read(str(folder / "rot_up.bag"), POSES)
    assert content.episodes[0].steps.num_rows > 2400
    collapsed = str(folder / "geforceerd_trial1_pose.bag")
    with pytest.raises(UnreadableLog, match=r"collapsed, 747 messages in 0\.040 s.*clock: nominal"):
        read(collapsed, POSES)
    nominal = parse_embodiment("""\
name: tracker
control_hz: 60
time: {clock: nominal, ticks: pose_data}
state: [{topic: pose_data, dims: [{name: x, field: position.x}]}]
""")
    (episode,) = read(collapsed, nominal).episodes
    assert episode.steps.num_rows == 747
    assert set(np.diff(episode.steps["t_ns"].to_numpy()).tolist()) == {16_666_667}


@pytest.mark.parametrize("name", ["empty-file.bag", "asci-file.txt", "no-messages.bag"])
def test_published_files_that_hold_nothing(name: str):
    with pytest.raises(UnreadableLog):
        read(str(sample("bag/rosbagjs", name)), POSES)


def test_formats_are_told_by_content(tmp_path: Path):
    bag = Path(write1(tmp_path / "a.bag")).rename(tmp_path / "a.mcap")
    assert reader_of(LogSource(str(bag))).format == "rosbag1"
