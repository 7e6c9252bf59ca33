"""Damaged and foreign files through the real readers: no crash, no wrong row, each accounted for."""

import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.logs import embodiment_text, write
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.settings import Settings

FILES = int(os.environ.get("LWD_DAMAGED", "40"))
SEED = os.environ.get("LWD_DAMAGED_SEED")  # a failed test's, to see it again


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 20])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    size = rng.choice([512, 4096, 65536])
    return data[:start] + b"\0" * len(data[start : start + size]) + data[start + size :]


def foreign(data: bytes, rng: random.Random) -> bytes:
    heads = [
        b"\x89MCAP0\r\n",
        b"#ROSBAG V2.0\n",
        b"\x89HDF\r\n\x1a\n",
        b"PK\x03\x04",
        b"SQLite format 3\0",
        b"",
    ]
    return rng.choice(heads) + rng.randbytes(rng.randrange(3000))


def pointer(data: bytes, rng: random.Random) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%064x\nsize 12\n" % rng.getrandbits(256)


KINDS = (cut, flipped, zeroed, foreign, pointer)


def test_damaged_files(tmp_path: Path) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    good = tmp_path / "good.mcap"
    write(good, 2)
    data = good.read_bytes()
    settings = Settings(home=str(tmp_path / "home"))
    folder = Path(settings.landing) / "lab" / "2026-01-01" / "r1"
    folder.mkdir(parents=True)
    for i in range(FILES):
        (folder / f"{i:04d}.mcap").write_bytes(KINDS[i % len(KINDS)](data, rng))
    torn_in_its_last_chunk = data[: len(data) * 9 // 10]
    (folder / "torn.mcap").write_bytes(torn_in_its_last_chunk)
    with zipfile.ZipFile(folder / "escape.npz", "w") as archive:
        archive.writestr("../../../../escaped.npy", b"\x93NUMPY")
    (folder / "empty.mcap").touch()
    (folder / "x%2f..%2fescaped.mcap").write_bytes(b"?")
    before = {p for p in tmp_path.rglob("*") if p.is_file()}
    embodiment = parse_embodiment(embodiment_text())
    lake = Lake.open(settings.lake, create=True)
    maps = {embodiment.name: embodiment}
    whole = ingest(lake, settings, [str(good)], embodiments=maps, now_ns=0)
    assert whole.accepted.files == 1
    truth = {row["t_ns"]: row["state"] for row in lake.read("steps", columns=["t_ns", "state"]).to_pylist()}
    result = ingest(lake, settings, [settings.landing], embodiments=maps, now_ns=0)
    counted = sum(result.tally(s).files for s in ("accepted", "duplicate", "salvaged", "quarantined"))
    assert counted == FILES + 4
    new = {p for p in tmp_path.rglob("*") if p.is_file()} - before
    assert all(p.is_relative_to(settings.lake) for p in new), "nothing is written outside the lake"
    rows = lake.read("steps", columns=["t_ns", "state", "valid"]).to_pylist()
    assert len(rows) > len(truth), f"seed {seed}: not even the torn log was salvaged"
    wrong = [r for r in rows if r["valid"] and not np.array_equal(truth.get(r["t_ns"]), r["state"])]
    assert not wrong, f"seed {seed}: {len(wrong)} rows that the robot never recorded"


@pytest.mark.parametrize("name", ["cut", "flipped", "zeroed", "foreign", "pointer"])
def test_the_damage_is_damage(name: str) -> None:
    data = bytes(range(256)) * 300
    damage = next(k for k in KINDS if k.__name__ == name)
    assert damage(data, random.Random(1)) != data
