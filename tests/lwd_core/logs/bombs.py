"""Small logs that ask for more than there is, and logs that lie about themselves.

Each maker writes one below the folder it is given and returns its path. `BOMBS` cost memory or time and must
end in quarantine; `LIES` must cost nothing, whatever becomes of them.
"""

import bz2
import io
import json
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import lz4.frame
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from mcap.writer import CompressionType

from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs import test_arrays
from tests.lwd_core.logs.readers import test_lerobot, test_rosbags
from tests.lwd_core.logs.robot_logs import ARM, START, Log, stamp, write_episode

EMBODIMENTS: dict[str, Embodiment] = {
    e.name: e
    for e in (ARM, test_rosbags.WHEELED, test_arrays.FLAT, test_arrays.ROBOMIMIC, test_lerobot.embodiment())
}
Maker = Callable[[Path], Path]
BOMBS: dict[str, Maker] = {}
LIES: dict[str, Maker] = {}
MAGIC = b"\x89MCAP0\r\n"
G = 1 << 30


def bomb(maker: Maker) -> Maker:
    BOMBS[maker.__name__] = maker
    return maker


def lie(maker: Maker) -> Maker:
    LIES[maker.__name__] = maker
    return maker


def saved(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def zstd_of(byte: int, size: int, head: bytes = b"") -> bytes:
    """A zstd frame of ``head`` and ``size`` times one byte: four bytes a block of 128 KiB."""
    block, blocks = 1 << 17, size >> 17
    run = struct.pack("<I", block << 3 | 1 << 1)[:3] + bytes([byte])
    last = struct.pack("<I", 1)[:3]  # raw, empty
    first = struct.pack("<I", len(head) << 3)[:3] + head if head else b""
    return b"\x28\xb5\x2f\xfd" + b"\x00\x38" + first + run * blocks + last


# --- rosbag2, SQLite


def db3(path: Path, messages: str, topics: str = "", kind: str = "x/msg/A", text: str = "") -> Path:
    """A recording whose tables are whatever SQL says."""
    database = sqlite3.connect(path)
    database.execute(
        topics or "CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format)"
    )
    if not topics:
        rows = [(1, "/joints", kind, "cdr"), (2, "/cmd_vel", kind, "cdr")]
        database.executemany("INSERT INTO topics VALUES (?, ?, ?, ?)", rows)
    if text:
        database.execute("CREATE TABLE message_definitions(topic_type, encoding, encoded_message_definition)")
        database.execute("INSERT INTO message_definitions VALUES (?, 'ros2msg', ?)", (kind, text))
    for line in messages.split(";"):
        database.execute(line)
    database.commit()
    database.close()
    return path


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
ROW = "SELECT i AS id, 1 AS topic_id, i AS timestamp, x'00' AS data"


@bomb
def sqlite_endless_view(folder: Path) -> Path:
    return db3(folder / "a.db3", f"CREATE VIEW messages AS {ENDLESS} {ROW} FROM n")


@bomb
def sqlite_silent_view(folder: Path) -> Path:
    return db3(folder / "a.db3", f"CREATE VIEW messages AS {ENDLESS} {ROW} FROM n WHERE i < 0")


@bomb
def sqlite_crossed_view(folder: Path) -> Path:
    few = f"CREATE TABLE t AS {ENDLESS.replace('FROM n)', 'FROM n LIMIT 1000)')} SELECT i FROM n"
    row = ROW.replace("SELECT i", "SELECT a.i").replace(", i", ", b.i")
    view = f"CREATE VIEW messages AS {row} FROM t a, t b, t c, t d, t e"
    return db3(folder / "a.db3", f"{few}; {view}")


@bomb
def sqlite_wide_blobs(folder: Path) -> Path:
    row = ROW.replace("x'00'", "randomblob(900000000)")
    return db3(folder / "a.db3", f"CREATE VIEW messages AS {ENDLESS} {row} FROM n")


@bomb
def sqlite_endless_topics(folder: Path) -> Path:
    row = "SELECT i AS id, 't' || i AS name, 'A' AS type, 'cdr' AS serialization_format"
    topics = f"CREATE VIEW topics AS {ENDLESS} {row} FROM n"
    table = "CREATE TABLE messages(id, topic_id, timestamp, data)"
    return db3(folder / "a.db3", table, topics)


@bomb
def sqlite_endless_definition(folder: Path) -> Path:
    path = db3(folder / "a.db3", "CREATE TABLE messages(id, topic_id, timestamp, data)")
    database = sqlite3.connect(path)
    database.execute(
        f"CREATE VIEW message_definitions AS {ENDLESS} SELECT 'k' || i AS topic_type, 'ros2msg' AS encoding, "
        "printf('%.*c', 100000, 'x') AS encoded_message_definition FROM n"
    )
    database.commit()
    database.close()
    return path


def typed(folder: Path, text: str, data: bytes = b"\0\1\0\0" + bytes(64)) -> Path:
    rows = "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)"
    path = db3(folder / "a.db3", rows, kind="x/msg/A", text=text)
    database = sqlite3.connect(path)
    rows = [(START + i, data) for i in range(50)]
    for topic in (1, 2):
        database.executemany(f"INSERT INTO messages(topic_id, timestamp, data) VALUES ({topic}, ?, ?)", rows)
    database.commit()
    database.close()
    return path


@bomb
def ros_string_array_of_2_31(folder: Path) -> Path:
    return typed(folder, "string[2147483648] a")


@bomb
def ros_double_array_of_2_31(folder: Path) -> Path:
    return typed(folder, "float64[2147483647] a")


@bomb
def ros_empty_structs(folder: Path) -> Path:
    return typed(folder, "B[2147483647] a\n" + "=" * 80 + "\nMSG: x/B\nstring<=0 s\n")


@bomb
def ros_arrays_of_arrays(folder: Path) -> Path:
    text = "B[1000] a\n"
    for name, of in ("BC", "CD", "DE"):
        text += "=" * 80 + f"\nMSG: x/{name}\n{of}[1000] a\n"
    return typed(folder, text + "=" * 80 + "\nMSG: x/E\nuint8 a\n")


@bomb
def ros_type_of_itself(folder: Path) -> Path:
    return typed(folder, "B[] b\n" + "=" * 80 + "\nMSG: x/B\nB[] b\n")


@bomb
def ros_text_of_brackets(folder: Path) -> Path:
    return typed(folder, "(" * 100_000)


@lie
def ros_string_of_2_31_bytes(folder: Path) -> Path:
    return typed(folder, "string a", b"\0\1\0\0" + struct.pack("<I", 1 << 31) + b"x")


def bag_folder(folder: Path, metadata: str, **files: bytes) -> Path:
    root = folder / "bag"
    root.mkdir()
    (root / "metadata.yaml").write_text(metadata)
    for name, data in files.items():
        (root / name.replace("_", ".", 1)).write_bytes(data)
    return root


@bomb
def zstd_file(folder: Path) -> Path:
    root = bag_folder(folder, "rosbag2_bagfile_information: {}\n")
    saved(root, "a.db3.zstd", zstd_of(0, 3 * G))
    return root


@bomb
def zstd_file_of_a_database(folder: Path) -> Path:
    root = bag_folder(folder, "rosbag2_bagfile_information: {}\n")
    saved(root, "a.db3.zstd", zstd_of(0, 40 * G, b"SQLite format 3\0"))
    return root


@bomb
def zstd_messages(folder: Path) -> Path:
    root = bag_folder(folder, "compression_mode: message\n")
    packed = zstd_of(0, G >> 2)
    database = sqlite3.connect(db3(root / "a.db3", "CREATE TABLE messages(id, topic_id, timestamp, data)"))
    rows = [(i, 1 + i % 2, START + i, packed) for i in range(400)]
    database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    return root


@lie
def yaml_nested(folder: Path) -> Path:
    return bag_folder(folder, "[" * 100_000, a_mcap=whole())


@lie
def yaml_laughs(folder: Path) -> Path:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    return bag_folder(folder, text, a_mcap=whole())


# --- MCAP


def whole() -> bytes:
    log = Log({"robot_id": "r1", "embodiment": "arm"})
    write_episode(log, 10)
    return log.finish()


def record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def text(words: str | bytes) -> bytes:
    raw = words.encode() if isinstance(words, str) else words
    return struct.pack("<I", len(raw)) + raw


def chunk(compression: str, packed: bytes, size: int, crc: int = 0) -> bytes:
    head = struct.pack("<QQQI", START, START + 10**12, size, crc)
    return record(6, head + text(compression) + struct.pack("<Q", len(packed)) + packed)


def mcap(*records: bytes, end: bool = True) -> bytes:
    """Header, the arm's channels, and whatever follows."""
    schema = record(3, struct.pack("<H", 1) + text("V") + text("jsonschema") + text("{}"))
    topics = sorted(ARM.topics)
    channels = b"".join(
        record(4, struct.pack("<HH", i + 1, 1) + text(t) + text("json") + struct.pack("<I", 0))
        for i, t in enumerate(topics)
    )
    facts = text("embodiment") + text("arm")
    said = record(12, text("lwd.robot") + struct.pack("<I", len(facts)) + facts)
    data = MAGIC + record(1, text("") + text("")) + schema + channels + said + b"".join(records)
    if not end:
        return data
    return data + record(15, struct.pack("<I", 0)) + record(2, struct.pack("<QQI", 0, 0, 0)) + MAGIC


def packed_zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=3).compress(data)


def empty_message(channel: int = 1) -> bytes:
    return record(5, struct.pack("<HIQQ", channel, 0, START, START))


@bomb
def mcap_empty_messages(folder: Path) -> Path:
    run = empty_message() * 4_000_000
    return saved(folder, "a.mcap", mcap(*[chunk("zstd", packed_zstd(run), len(run))] * 8))


@bomb
def mcap_empty_messages_outside(folder: Path) -> Path:
    """A chunk of empty messages for each topic that is wanted, at one time."""
    run = b"".join(empty_message(c) for c in range(1, len(ARM.topics) + 1)) * 500_000
    return saved(folder, "a.mcap", mcap(*[chunk("zstd", packed_zstd(run), len(run))] * 12))


@lie
def mcap_zeros_in_a_chunk(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(chunk("zstd", zstd_of(0, 2 * G - (1 << 17)), 2 * G - (1 << 17))))


@lie
def mcap_chunk_claims_2_31(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(chunk("zstd", packed_zstd(b"x"), (1 << 31) - 1)))


@lie
def mcap_chunk_holds_more(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(chunk("zstd", zstd_of(0, 8 * G), 100)))


@lie
def mcap_lz4_holds_more(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(chunk("lz4", lz4.frame.compress(bytes(1 << 28)), 100)))


@lie
def mcap_lz4_claims_more(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(chunk("lz4", lz4.frame.compress(bytes(100)), (1 << 31) - 1)))


@lie
def mcap_record_of_2_63(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(struct.pack("<BQ", 5, 1 << 63)))


@lie
def mcap_metadata_claims_2_32(folder: Path) -> Path:
    return saved(folder, "a.mcap", mcap(record(12, text("m") + struct.pack("<I", 0xFFFFFFFF) + text("x"))))


@lie
def mcap_attachment_claims_2_40(folder: Path) -> Path:
    body = struct.pack("<QQ", 0, 0) + text("a") + text("b") + struct.pack("<Q", 1 << 40)
    return saved(folder, "a.mcap", mcap(record(9, body)))


def indexed(*places: tuple[int, int]) -> bytes:
    """A file whose summary places chunks at (offset, length)."""
    data = mcap(end=False)
    start = len(data) + 13
    index = b"".join(
        record(8, struct.pack("<QQQQIQ", 0, 1, at, n, 0, 0) + text("zstd") + struct.pack("<QQ", 5, 5))
        for at, n in places
    )
    data += record(15, struct.pack("<I", 0)) + index
    return data + record(2, struct.pack("<QQI", start, 0, 0)) + MAGIC


@lie
def mcap_chunk_of_no_length(folder: Path) -> Path:
    return saved(folder, "a.mcap", indexed((8, 0)))


@lie
def mcap_chunk_before_itself(folder: Path) -> Path:
    return saved(folder, "a.mcap", indexed((8, (1 << 64) - 8)))


@lie
def mcap_chunks_in_a_circle(folder: Path) -> Path:
    return saved(folder, "a.mcap", indexed(*[(8 + i, (1 << 63) + i) for i in range(1000)]))


def json_log(payload: bytes, times: int = 1) -> bytes:
    log = Log({"robot_id": "r1", "embodiment": "arm"}, chunk_size=1 << 29)
    channels = [log.channel(t, "V", "jsonschema", "json", b"{}") for t in sorted(ARM.topics)]
    for i in range(times):
        for channel in channels:
            log.raw(channel, payload, START + i)
    return log.finish()


@bomb
def json_nested(folder: Path) -> Path:
    return saved(folder, "a.mcap", json_log(b"[" * 3_000_000))


@bomb
def json_long_number(folder: Path) -> Path:
    return saved(folder, "a.mcap", json_log(b'{"values": [' + b"1" * 3_000_000 + b"]}"))


@bomb
def json_many_values(folder: Path) -> Path:
    return saved(folder, "a.mcap", json_log(b'{"values": [' + b"{}," * 25_000_000 + b"0]}"))


def varint(number: int) -> bytes:
    said = b""
    while number > 127:
        said += bytes([number & 127 | 128])
        number >>= 7
    return said + bytes([number])


@bomb
def protobuf_many_values(folder: Path) -> Path:
    log = Log({"robot_id": "r1", "embodiment": "arm"})
    write_episode(log, 3)
    channel = next(n for (topic, _), n in log._channels.items() if topic == "/state")
    size = 9 * G // 8
    message = struct.pack("<HIQQ", channel, 0, START, START) + b"\x0a" + varint(size)
    head = struct.pack("<BQ", 5, len(message) + size) + message
    packed = zstd_of(0, size, head)
    data = log.finish()
    end = data.rindex(struct.pack("<BQ", 15, 4))
    return saved(folder, "a.mcap", data[:end] + chunk("zstd", packed, len(head) + size) + data[end:])


def nested_schema(depth: int) -> bytes:
    files = FileDescriptorSet()
    file = files.file.add(name="a.proto", syntax="proto3", package="x")
    for i in range(depth):
        message = file.message_type.add(name=f"M{i}")
        kind = f".x.M{(i + 1) % depth}"
        message.field.add(
            name="m", number=1, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=kind,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )  # fmt: skip
    return files.SerializeToString()


def protobuf_log(schema: bytes, payload: bytes) -> bytes:
    log = Log({"robot_id": "r1", "embodiment": "arm"})
    for topic in sorted(ARM.topics):
        log.raw(log.channel(topic, "x.M0", "protobuf", "protobuf", schema), payload, START)
    return log.finish()


@bomb
def protobuf_types_in_a_circle(folder: Path) -> Path:
    payload = b""
    for _ in range(20_000):
        payload = b"\x0a" + varint(len(payload)) + payload
    return saved(folder, "a.mcap", protobuf_log(nested_schema(3), payload))


@bomb
def protobuf_many_types(folder: Path) -> Path:
    return saved(folder, "a.mcap", protobuf_log(nested_schema(30_000), b""))


@bomb
def protobuf_nested_types(folder: Path) -> Path:
    inner = b"\x0a\x01M"  # a message named M, in a message named M …
    for _ in range(5000):
        inner = b"\x0a\x01M\x1a" + varint(len(inner)) + inner
    schema = FileDescriptorSet()
    schema.file.add(name="a.proto", syntax="proto3")
    raw = schema.file[0].SerializeToString() + b"\x22" + varint(len(inner)) + inner
    return saved(folder, "a.mcap", protobuf_log(b"\x0a" + varint(len(raw)) + raw, b""))


# --- pictures


def huge_jpeg(width: int = 65535, height: int = 65535) -> bytes:
    """A sound JPEG's bytes, but for the size its header states."""
    import simplejpeg

    data = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@lie
def jpeg_of_65535(folder: Path) -> Path:
    log = Log({"robot_id": "r1", "embodiment": "arm"})
    write_episode(log, 10)
    for i in range(10):
        t = START + i * 20_000_000
        log.write("/camera/wrist", CompressedImage(timestamp=stamp(t), data=huge_jpeg(), format="jpeg"), t)
    return saved(folder, "a.mcap", log.finish())


@lie
def raw_picture_of_2_31(folder: Path) -> Path:
    log = Log({"robot_id": "r1", "embodiment": "arm"})
    write_episode(log, 10)
    said = {"height": 1 << 31, "width": 1 << 31, "step": 1 << 33, "encoding": "rgb8", "data": "AAAA"}
    channel = log.channel("/camera/wrist", "Raw", "jsonschema", "json", b"{}")
    log.raw(channel, json.dumps(said).encode(), START)
    return saved(folder, "a.mcap", log.finish())


# --- ROS 1


def bag_record(head: dict[str, bytes], data: bytes, claim: int | None = None) -> bytes:
    fields = b"".join(text(k.encode() + b"=" + v) for k, v in head.items())
    return text(fields) + struct.pack("<I", len(data) if claim is None else claim) + data


def bag(*records: bytes, chunks: int = 1, index: int = 0) -> bytes:
    head = {"op": b"\x03", "index_pos": struct.pack("<Q", index), "conn_count": struct.pack("<I", 1)}
    first = bag_record(head | {"chunk_count": struct.pack("<I", chunks)}, b" " * 4027)
    return b"#ROSBAG V2.0\n" + first + b"".join(records)


def bag_chunk(compression: bytes, data: bytes, size: int) -> bytes:
    return bag_record({"op": b"\x05", "compression": compression, "size": struct.pack("<I", size)}, data)


@lie
def bag_record_of_2_32(folder: Path) -> Path:
    return saved(folder, "a.bag", bag(struct.pack("<I", 0xFFFFFFFF)))


@lie
def bag_data_of_2_32(folder: Path) -> Path:
    return saved(folder, "a.bag", bag(bag_record({"op": b"\x05"}, b"", 0xFFFFFFFF)))


@lie
def bag_chunk_of_bz2(folder: Path) -> Path:
    packed = bz2.compress(bytes(1 << 25)) * 96  # streams one behind the other: 3 GB
    return saved(folder, "a.bag", bag(bag_chunk(b"bz2", packed, (1 << 31) - 1)))


@lie
def bag_chunk_of_lz4(folder: Path) -> Path:
    packed = lz4.frame.compress(bytes(1 << 29)) * 5
    return saved(folder, "a.bag", bag(bag_chunk(b"lz4", packed, (1 << 31) - 1)))


@lie
def bag_index_claims_2_32(folder: Path) -> Path:
    return saved(folder, "a.bag", bag(chunks=0xFFFFFFFF, index=4117))


# --- LeRobot


def lerobot(folder: Path) -> Path:
    return test_lerobot.write(folder / "set", "v3.0")


@bomb
def parquet_of_one_row(folder: Path) -> Path:
    """The same row a hundred million times."""
    root = lerobot(folder)
    one = test_lerobot.table(0, 0).slice(0, 1)
    rows = pa.concat_tables([one] * 64).combine_chunks()
    while rows.num_rows < 1_000_000:
        rows = pa.concat_tables([rows, rows]).combine_chunks()
    path = root / "data/chunk-000/file-000.parquet"
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(32):
            writer.write_table(rows, row_group_size=rows.num_rows)
    return root


@bomb
def parquet_of_one_text(folder: Path) -> Path:
    root = lerobot(folder)
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array(["x" * 100_000]))
    table = pa.table(
        {"task_index": np.arange(1_000_000), "task": texts.cast(pa.dictionary(pa.int32(), pa.large_string()))}
    )
    pq.write_table(table, root / "meta/tasks.parquet")
    return root


@bomb
def parquet_of_many_episodes(folder: Path) -> Path:
    root = lerobot(folder)
    n = 5_000_000
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["open the drawer " * 4]))
    table = pa.table({"episode_index": np.arange(n), "length": np.ones(n, np.int64), "said": same})
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    counted = {"episode_index": "DELTA_BINARY_PACKED"}
    pq.write_table(
        table, path, compression="zstd", use_dictionary=["length", "said"], column_encoding=counted
    )
    return root


def telling(folder: Path, **more: object) -> Path:
    root = lerobot(folder)
    (root / "meta/info.json").write_text(json.dumps(test_lerobot.info("v3.0", **more)))
    return root


@lie
def lerobot_of_10_12_rows(folder: Path) -> Path:
    return telling(
        folder, total_episodes=10**12, total_frames=10**12, chunks_size=10**12, total_chunks=10**12
    )


@lie
def lerobot_of_tiny_fps(folder: Path) -> Path:
    return telling(folder, fps=1e-300)


@lie
def lerobot_of_nested_info(folder: Path) -> Path:
    root = lerobot(folder)
    (root / "meta/info.json").write_text("[" * 1_000_000)
    return root


@lie
def lerobot_of_far_rows(folder: Path) -> Path:
    root = lerobot(folder)
    path = root / "data/chunk-000/file-001.parquet"
    table = test_lerobot.table(2, 0)
    far = pa.array(np.full(table.num_rows, 1 << 62))
    for name in ("frame_index", "index", "episode_index"):
        table = table.set_column(table.column_names.index(name), name, far)
    pq.write_table(table, path)
    return root


# --- npz


def npy_head(shape: str, dtype: str = "<f4") -> bytes:
    said = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    said = said.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said.encode()


def deflated(size: int) -> bytes:
    """Raw deflate of ``size`` zeros; whole blocks of 16 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size >> 24)


def npz(path: Path, members: dict[str, tuple[bytes, int, bytes]]) -> Path:
    """Members by name: start of the content, zeros behind it, packed form of the zeros."""
    with path.open("wb") as out:
        central = b""
        for name, (head, zeros, packed) in members.items():
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
            end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
            data, size, raw = start + packed + end, len(head) + zeros, name.encode()
            sizes = struct.pack("<III", 0, len(data), min(size, 0xFFFFFFFE))
            at = out.tell()
            out.write(b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 0) + sizes)
            out.write(struct.pack("<HH", len(raw), 0) + raw + data)
            central += b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0) + sizes
            central += struct.pack("<HHHHHII", len(raw), 0, 0, 0, 0, 0, at) + raw
        at = out.tell()
        count = len(members)
        out.write(central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), at, 0))
    return path


def with_rows(observations: tuple[bytes, int, bytes]) -> dict[str, tuple[bytes, int, bytes]]:
    small = {"actions.npy": "(10, 2)", "terminals.npy": "(10,)"}
    rows = {
        k: (npy_head(shape) + bytes(4 * 10 * (2 if "2" in shape else 1)), 0, b"")
        for k, shape in small.items()
    }
    return {"observations.npy": observations} | rows


@bomb
def npz_of_zeros(folder: Path) -> Path:
    size = 5 * G // 2
    return npz(folder / "a.npz", with_rows((npy_head(f"({size // 12}, 3)"), size, deflated(size))))


@bomb
def npz_of_many_zeros(folder: Path) -> Path:
    size = G
    members = with_rows((npy_head(f"({size // 12}, 3)"), size, deflated(size)))
    more = {f"more{i}.npy": (npy_head(f"({size // 4},)"), size, deflated(size)) for i in range(2)}
    return npz(folder / "a.npz", members | more)


@lie
def npz_shape_of_10_12(folder: Path) -> Path:
    return npz(folder / "a.npz", with_rows((npy_head("(1000000000000, 3)") + bytes(120), 0, b"")))


@lie
def npz_nested_header(folder: Path) -> Path:
    said = ("(" * 60_000).encode()
    head = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(said)) + said
    return npz(folder / "a.npz", with_rows((head, 0, b"")))


@lie
def npz_empty_dims(folder: Path) -> Path:
    return npz(folder / "a.npz", with_rows((npy_head("(9223372036854775807, 0)"), 0, b"")))


@lie
def npz_one_member_often(folder: Path) -> Path:
    """Every entry of the directory shows the same megabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("observations.npy", npy_head("(10, 3)") + bytes(120))
    data = buffer.getvalue()
    at = data.index(b"PK\x01\x02")
    entry, end = data[at : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    many = 60_000
    end = end[:8] + struct.pack("<HHI", many, many, len(entry) * many) + end[16:]
    return saved(folder, "a.npz", data[:at] + entry * many + end)


# --- HDF5


def flat_hdf5(folder: Path, **made: Callable[[h5py.File, str], None]) -> Path:
    path = folder / "a.hdf5"
    with h5py.File(path, "w") as file:
        for name, width in (("observations", 3), ("actions", 2), ("terminals", 0)):
            if name in made:
                made[name](file, name)
            else:
                file[name] = np.zeros((10, width) if width else 10, np.float32)
        for name, make in made.items():
            if name not in file:
                make(file, name)
    return path


@bomb
def hdf5_never_written(folder: Path) -> Path:
    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (10**9, 3), "f4", chunks=(10**6, 3))

    return flat_hdf5(folder, observations=make)


@bomb
def hdf5_wide_rows(folder: Path) -> Path:
    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (10, 10**9), "f8", chunks=(1, 10**6))

    return flat_hdf5(folder, observations=make)


@bomb
def hdf5_packed_zeros(folder: Path) -> Path:
    def make(file: h5py.File, name: str) -> None:
        data = file.create_dataset(name, (6 * 10**8,), "f8", chunks=(10**7,), compression="gzip")
        block = zlib.compress(bytes(8 * 10**7), 9)
        for i in range(60):
            data.id.write_direct_chunk((i * 10**7,), block)

    return flat_hdf5(folder, more=make)


@bomb
def hdf5_one_huge_chunk(folder: Path) -> Path:
    def make(file: h5py.File, name: str) -> None:
        data = file.create_dataset(name, (5 * 10**8,), "f8", chunks=(5 * 10**8,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(10**7), 9))

    return flat_hdf5(folder, more=make)


@lie
def hdf5_elsewhere(folder: Path) -> Path:
    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (10**9, 3), "f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])

    return flat_hdf5(folder, observations=make)


@lie
def hdf5_virtual(folder: Path) -> Path:
    def make(file: h5py.File, name: str) -> None:
        layout = h5py.VirtualLayout((10**9, 3), "f4")
        layout[:10] = h5py.VirtualSource(file.filename, "actions", (10, 3))
        file.create_virtual_dataset(name, layout)

    return flat_hdf5(folder, observations=make)


@bomb
def hdf5_groups_in_a_circle(folder: Path) -> Path:
    path = folder / "a.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(150):
            file[f"again{i}"] = file["/"]
    return path


@bomb
def hdf5_demos_never_written(folder: Path) -> Path:
    path = folder / "a.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"robots": ["Panda"]}})
        for name, shape in (
            ("obs/eef_pos", (10**8, 3)),
            ("obs/gripper", (10**8, 1)),
            ("actions", (10**8, 2)),
        ):
            data.create_dataset(f"demo_0/{name}", shape, "f8", chunks=(10**6, shape[1]))
    return path


@lie
def hdf5_endless_pictures(folder: Path) -> Path:
    path = folder / "a.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = "[" * 50_000
        demo = data.create_group("demo_0")
        n = 10**6
        demo.create_dataset("obs/eef_pos", (n, 3), "f4", chunks=(10**5, 3))
        demo.create_dataset("obs/gripper", (n, 1), "f4", chunks=(10**5, 1))
        demo.create_dataset("actions", (n, 2), "f4", chunks=(10**5, 2))
        demo.create_dataset("obs/front_image", (n, 2000, 2000, 3), "u1", chunks=(1, 2000, 2000, 3))
    return path


# --- no log at all


@lie
def text_nested(folder: Path) -> Path:
    return saved(folder, "a.json", b"[" * 3_000_000)


@lie
def unchunked_messages(folder: Path) -> Path:
    log = Log({"robot_id": "r1", "embodiment": "arm"}, use_chunking=False, compression=CompressionType.NONE)
    write_episode(log, 3)
    return saved(folder, "a.mcap", log.finish()[:-40])
