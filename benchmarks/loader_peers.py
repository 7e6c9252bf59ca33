"""What the loader is measured beside: memcpy, records alone, WebDataset with a transition a member, Parquet.

All of transitions of 488 bytes in batches of 256; the last two to torch tensors.
"""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from webdataset.compat import WebDataset

from benchmarks.loader_lake import ACTION, BATCH, CHUNK, LENGTH, STATE, vectors
from lwd_core.loader.cache import cache_folder, mapped
from lwd_core.loader.packed import record_type
from lwd_core.snapshots.snapshot import Snapshot

RECORD = 488


def timed(clock: Callable[[], float], action: Callable[[], Any]) -> float:
    """Seconds an action takes."""
    begin = clock()
    action()
    return clock() - begin


def memcpy(clock: Callable[[], float]) -> float:
    """Samples a second if a batch were a plain copy of 256 records lying side by side."""
    records = np.ones((1_000_000, RECORD // 4), np.float32)
    batch = torch.empty((BATCH, RECORD // 4)).numpy()
    begins = np.random.default_rng(0).integers(0, len(records) - BATCH, 4000).tolist()

    def copy() -> None:
        for begin in begins:
            np.copyto(batch, records[begin : begin + BATCH])

    return len(begins) * BATCH / timed(clock, copy)


def records_alone(clock: Callable[[], float], snapshot: Snapshot, seed: int, batches: int = 12_000) -> float:
    """Samples a second if a batch were its records, at random places of the cache, and nothing else."""
    (file,) = cache_folder(snapshot.place, snapshot.digest).glob("*.npy")
    records = mapped(file, [record_type(STATE, CHUNK, ACTION, False)])
    assert records is not None
    first, whole = records["episode"], records.view(np.dtype((np.void, records.itemsize)))
    places = np.random.default_rng(seed).integers(0, len(records), (batches, BATCH))

    def read() -> None:
        for numbers in places:
            first[numbers]
            whole.take(numbers)

    return batches * BATCH / timed(clock, read)


def transition(rng: np.random.Generator) -> dict[str, Any]:
    """One transition as other formats keep it."""
    return {
        "state": rng.standard_normal(STATE, np.float32),
        "next_state": rng.standard_normal(STATE, np.float32),
        "action": rng.standard_normal((CHUNK, ACTION), np.float32),
        "reward": np.float32(0),
        "discount": np.float32(1),
    }


def webdataset_members(clock: Callable[[], float], folder: Path, count: int = 8 * BATCH) -> float:
    """Samples a second of WebDataset with a transition a member (npz), shuffled and collated to tensors."""
    path, rng = folder / "members.tar", np.random.default_rng(0)
    if not path.exists():
        with tarfile.open(path, "w") as tar:
            for i in range(count):
                data = io.BytesIO()
                np.savez(data, **transition(rng))
                info = tarfile.TarInfo(f"{i:06d}.npz")
                info.size = data.tell()
                data.seek(0)
                tar.addfile(info, data)
    samples: Any = WebDataset(str(path), shardshuffle=False, empty_check=False).shuffle(1000).decode()

    def read() -> None:
        batch = []
        for sample in samples:
            batch.append(sample["npz"])
            if len(batch) == BATCH:
                {k: torch.from_numpy(np.stack([b[k] for b in batch])) for k in batch[0]}
                batch = []

    return count / timed(clock, read)


def lerobot_style(clock: Callable[[], float], folder: Path, count: int = 8 * BATCH) -> float:
    """Samples a second of random rows of a Parquet table, each with its window of actions, collated."""
    path, rng, rows = folder / "rows.parquet", np.random.default_rng(0), 100 * LENGTH
    if not path.exists():
        columns = {
            "observation.state": vectors(rng, rows, STATE),
            "action": vectors(rng, rows, ACTION),
            "episode_index": pa.array(np.repeat(np.arange(100), LENGTH)),
            "frame_index": pa.array(np.tile(np.arange(LENGTH), 100)),
        }
        pq.write_table(pa.table(columns), path)
    table = pq.read_table(path)
    state, action = table["observation.state"].combine_chunks(), table["action"].combine_chunks()
    episode, frame = table["episode_index"], table["frame_index"]

    def sample(i: int) -> dict[str, torch.Tensor]:
        last = i - frame[i].as_py() + LENGTH - 1
        window = [min(i + k, last) for k in range(CHUNK)]
        return {
            "state": torch.tensor(state[i].as_py()),
            "next_state": torch.tensor(state[min(i + CHUNK, last)].as_py()),
            "action": torch.stack([torch.tensor(action[k].as_py()) for k in window]),
            "padded": torch.tensor([i + k > last for k in range(CHUNK)]),
            "episode": torch.tensor(episode[i].as_py()),
        }

    def read() -> None:
        for _ in range(count // BATCH):
            torch.utils.data.default_collate([sample(i) for i in rng.integers(0, rows, BATCH).tolist()])

    return count / timed(clock, read)
