"""The proof of absence finds what is there, in every form a raw log stores it."""

import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from lwd_core.erasure import unpack
from lwd_core.erasure.number_runs import Numbers, digits, runs
from lwd_core.erasure.search import Needles, search, unrecognised
from lwd_core.logs.children import ChildLimits
from tests.lwd_core.logs import bombs

ID, FRAME = "0123456789abcdef" * 2, bytes(range(40, 72))
STATE = np.random.default_rng(0).normal(size=7)
OTHER = np.random.default_rng(1).normal(size=7)


def needles() -> Needles:
    state = STATE.astype("<f4")
    return Needles((ID,), (FRAME,), tuple(state[a:b].tobytes() for a, b in runs(state, 6)))


def mcap(payloads: list[bytes], compression: CompressionType) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, compression=compression, chunk_size=4096)
    writer.start()
    schema = writer.register_schema("s", "jsonschema", b"{}")
    channel = writer.register_channel("/state", "json", schema)
    for t, payload in enumerate(payloads):
        writer.add_message(channel, t, payload, t)
    writer.finish()
    return out.getvalue()


def cdr(state: np.ndarray, kind: str = "<f8") -> bytes:
    """A header, a stamp, a sequence of numbers."""
    return b"\0\1\0\0" + struct.pack("<IIII", 12, 34, 0, len(state)) + state.astype(kind).tobytes()


def protobuf(state: np.ndarray) -> bytes:
    """One field a number: a tag of one byte before each."""
    return b"".join(bytes([8 * i + 9]) + struct.pack("<d", value) for i, value in enumerate(state))


def text(state: np.ndarray) -> bytes:
    return json.dumps({f"joint_{i + 1}": value for i, value in enumerate(state)}).encode()


def parquet(state: np.ndarray) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"observation.state": [state.tolist()] * 3}), out, compression="zstd")
    return out.getvalue()


def hdf5(state: np.ndarray) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        data = np.tile(state, (64, 1))
        file.create_dataset(
            "data/demo_0/obs/state", data=data, compression="gzip", shuffle=True, chunks=(8, 7)
        )
    return out.getvalue()


def npz(state: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, observations=np.tile(state, (9, 1)))
    return out.getvalue()


def db3(state: np.ndarray) -> bytes:
    base = sqlite3.connect(":memory:")
    base.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)"
    )
    # long enough to be torn apart over pages
    base.execute("INSERT INTO messages VALUES (1, 1, 1, ?)", (b"x" * 5000 + cdr(state) + b"x" * 5000,))
    base.commit()
    return base.serialize()


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.txt", data)
    return out.getvalue()


Make = Callable[[np.ndarray], bytes]
FORMS: dict[str, Make] = {
    "cdr f64 little": cdr,
    "cdr f64 big": lambda s: cdr(s, ">f8"),
    "cdr f32 little": lambda s: cdr(s, "<f4"),
    "cdr f32 big": lambda s: cdr(s, ">f4"),
    "protobuf": protobuf,
    "json": text,
    "csv": lambda s: ",".join(map(repr, s.tolist())).encode(),
    "mcap json zstd": lambda s: mcap([text(OTHER)] * 50 + [text(s)] * 50, CompressionType.ZSTD),
    "mcap cdr lz4": lambda s: mcap([cdr(OTHER)] * 50 + [cdr(s)] * 50, CompressionType.LZ4),
    "mcap protobuf plain": lambda s: mcap([protobuf(s)], CompressionType.NONE),
    "parquet f64": parquet,
    "hdf5": hdf5,
    "npz": npz,
    "rosbag2 sqlite": db3,
    "gzip": lambda s: gzip.compress(text(s)),
    "bz2": lambda s: bz2.compress(text(s)),
    "xz": lambda s: lzma.compress(text(s)),
    "zstd": lambda s: zstandard.compress(cdr(s)),
    "zip": lambda s: zipped(text(s)),
}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_found_as_the_format_stores_them(tmp_path: Path, form: str) -> None:
    (tmp_path / "it").write_bytes(FORMS[form](STATE))
    (tmp_path / "another").write_bytes(FORMS[form](OTHER))
    found = search([], needles(), raw=[str(tmp_path)])
    assert (found.holding, found.blind) == ([str(tmp_path / "it")], {})
    assert unrecognised(str(tmp_path / "it"), Needles((), (), needles().numbers)) == []
    assert unrecognised(str(tmp_path / "another"), Needles((), (), needles().numbers)) == ["numbers"]


@pytest.mark.parametrize("piece", [ID.encode(), FRAME])
def test_ids_and_frames_are_found_inside_of_what_is_packed(tmp_path: Path, piece: bytes) -> None:
    long = b"x" * 3 * unpack.SMALL + piece
    (tmp_path / "log.mcap").write_bytes(mcap([piece], CompressionType.ZSTD))
    (tmp_path / "picture.mcap").write_bytes(mcap([long], CompressionType.LZ4))
    (tmp_path / "log.zip").write_bytes(zipped(piece))
    (tmp_path / "plain.bin").write_bytes(b"x" * (unpack.BLOCK - 5) + piece)
    table = pa.table({"id": pa.array([piece.hex(), ID]).dictionary_encode(), "image": [{"bytes": piece}] * 2})
    pq.write_table(table, tmp_path / "t", compression="zstd")
    assert len(search([], needles(), raw=[str(tmp_path)]).holding) == 5


def test_more_than_a_log_holds_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "ROOM", 0)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * 20_000_000))
    with pytest.raises(unpack.Blind, match="more is packed into it"):
        list(unpack.inside(str(tmp_path / "bomb.gz")))


def test_what_takes_too_long_or_too_much_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChildLimits, "of", lambda size: ChildLimits(700_000_000, 4.0))
    (tmp_path / "a").mkdir()
    bombs.sqlite_silent_view(tmp_path / "a")
    pq.write_table(pa.table({"t": ["x" * 400_000_000]}), tmp_path / "b.parquet", compression="zstd")
    (tmp_path / "it.json").write_bytes(text(STATE))
    found = search([], needles(), raw=[str(tmp_path)])
    assert found.holding == [f"{tmp_path}/it.json"]
    said = {Path(path).name: reason for path, reason in found.blind.items()}
    assert set(said) == {"a.db3", "b.parquet"}
    assert "0.7 GB" in said["b.parquet"]


def test_what_can_not_be_seen_is_said(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 99)
    (tmp_path / "cut.xz").write_bytes(lzma.compress(text(OTHER) * 99)[:-40])
    (tmp_path / "cut.mcap").write_bytes(mcap([text(OTHER)] * 999, CompressionType.ZSTD)[:-3000])
    (tmp_path / "cut.parquet").write_bytes(parquet(OTHER)[:-20])
    locked = bytearray(zipped(text(OTHER)))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        locked[locked.find(mark) + at] |= 1
    (tmp_path / "locked.zip").write_bytes(bytes(locked))
    os.mkfifo(tmp_path / "pipe")
    found = search([], needles(), raw=[str(tmp_path)])
    assert found.holding == []
    said = {Path(path).name: reason for path, reason in found.blind.items()}
    assert set(said) == {"film.mp4", "cut.xz", "cut.mcap", "cut.parquet", "locked.zip"}
    assert said["film.mp4"].startswith("video")
    assert said["locked.zip"] == "encrypted"


def test_outside_of_the_landing_zone_vectors_are_found_as_snapshots_hold_them(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"\0" * 501 + np.concatenate([OTHER, STATE]).astype("<f4").tobytes())
    (tmp_path / "report.json").write_text(json.dumps({"worst": STATE.tolist()}))
    (tmp_path / "other.tar").write_bytes(OTHER.astype("<f4").tobytes())
    found = search([str(tmp_path)], needles())
    assert [Path(path).name for path in found.holding] == ["report.json", "shard.tar"]


def test_digits() -> None:
    assert [digits(np.float32(x)) for x in (0, 1, -0.25, 0.123, 100, np.nan)] == [0, 1, 2, 3, 1, 0]


def test_runs_say_enough_to_be_known_again() -> None:
    assert runs(np.zeros(9, np.float32), 6) == []
    assert runs(np.array([1, 0, 2, 0, 3], np.float32), 6) == []
    assert runs(np.array([0.123, 0.456, 0.789, 0.321], np.float32), 6) == [(0, 4)]
    assert len(runs(np.random.default_rng(0).normal(size=40).astype(np.float32), 6)) == 6


values = st.floats(-1e3, 1e3, width=32).filter(lambda v: digits(v) >= 3 and abs(v) > 1e-6)
FOUND: dict[str, Callable[[np.ndarray, np.ndarray, bytes], bool]] = {
    "<f4": lambda run, exact, pad: Numbers([run.tobytes()]).in_bytes(pad + exact.astype("<f4").tobytes()),
    ">f8": lambda run, exact, pad: Numbers([run.tobytes()]).in_bytes(pad + exact.astype(">f8").tobytes()),
    "protobuf": lambda run, exact, pad: Numbers([run.tobytes()]).in_bytes(pad + protobuf(exact)),
    "array": lambda run, exact, pad: Numbers([run.tobytes()]).in_array(
        np.concatenate([np.ones(len(pad)), exact]).astype("<f4")
    ),
    "json": lambda run, exact, pad: Numbers([run.tobytes()]).in_text(text(exact)),
    "list": lambda run, exact, pad: Numbers([run.tobytes()]).in_text(json.dumps(exact.tolist()).encode()),
}


@pytest.mark.parametrize("form", FOUND)
@given(st.lists(values, min_size=4, max_size=8), st.binary(max_size=9), st.integers(0, 1))
def test_any_run_is_found_in_any_form(form: str, state: list[float], pad: bytes, noise: int) -> None:
    """The log's own float64 need not be what the lake rounded it to."""
    exact = np.array(state) * (1 + noise * 1e-9)
    stored = exact.astype("<f4")
    for first, last in runs(stored, 6):
        assert FOUND[form](stored[first:last], exact, pad)
