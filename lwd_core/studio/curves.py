"""Numbers over the time of one episode, as the page draws them: state, action, rewards, values."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lwd_core.lake.episode import Episode
from storage_schemas.embodiment import Dim
from storage_schemas.vocabulary import LabelKind, Outcome

#: Points of a curve; of a longer episode every second, third, … step is shown, and that is said.
POINTS = 6_000


@dataclass(frozen=True)
class Line:
    """``values`` (N,), NaN where nothing is known, at ``steps`` (N,); ``group`` is the panel they are in."""

    group: str
    name: str
    steps: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]


def lines(episode: Episode) -> list[Line]:
    """Everything of an episode that is a number a step."""
    robot = episode.embodiment
    found: list[Line] = []
    for column, group, dims in (
        ("state", "state", robot.state_dims if robot else ()),
        ("action", "action", robot.action_dims if robot else ()),
        ("proposed", "proposed", robot.action_dims if robot else ()),
    ):
        values = episode[column]
        if values.size and not np.isnan(values).all():
            found += _of_vector(group, values, dims)
    return found + list(_of_labels(episode))


def packed(found: Sequence[Line]) -> bytes:
    """A length (u32), as much JSON that names the lines, then of each its steps (i32) and values (f32);
    little-endian."""
    head = json.dumps([{"group": line.group, "name": line.name, "points": len(line.steps)} for line in found])
    text = head.encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(
        line.steps.astype("<i4").tobytes() + line.values.astype("<f4").tobytes() for line in found
    )
    return len(text).to_bytes(4, "little") + text + body


def thinned(steps: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> tuple[np.ndarray, np.ndarray]:
    """Evenly, to at most `POINTS`; the last one stays."""
    stride = -(-len(steps) // POINTS)
    if stride <= 1:
        return steps, values
    kept = np.union1d(np.arange(0, len(steps), stride), [len(steps) - 1])
    return steps[kept], values[kept]


def _of_vector(group: str, values: npt.NDArray[np.float32], dims: Sequence[Dim]) -> Iterator[Line]:
    names = (
        [dim.name for dim in dims]
        if len(dims) == values.shape[1]
        else [str(i) for i in range(values.shape[1])]
    )
    steps, shown = thinned(np.arange(len(values), dtype=np.int32), values)
    for i, name in enumerate(names):
        yield Line(group, name, steps, np.ascontiguousarray(shown[:, i]))


def _of_labels(episode: Episode) -> Iterator[Line]:
    """Rewards and values by layer; where no layer gives a reward, the one the outcome means."""
    labels = episode.labels
    kinds = {
        str(LabelKind.REWARD): "reward",
        str(LabelKind.PROGRESS): "value",
        str(LabelKind.ANNOTATION): "value",
    }
    seen_reward = False
    told = labels.filter(_single_steps(labels)).select(["layer_id", "kind", "check", "step", "value"])
    groups: dict[tuple[str, str], list[int]] = {}
    for row, (layer, kind, check) in enumerate(
        zip(*(told[name].to_pylist() for name in ("layer_id", "kind", "check")), strict=True)
    ):
        if kind in kinds:
            groups.setdefault((kinds[kind], f"{layer} {check}" if check else layer), []).append(row)
    for (group, name), rows in groups.items():
        some = told.take(pa.array(rows))
        steps, values = some["step"].to_numpy().astype(np.int32), some["value"].to_numpy().astype(np.float32)
        yield Line(group, name, *thinned(steps, values))
        seen_reward = seen_reward or group == "reward"
    if not seen_reward and len(episode):
        reward = np.zeros(len(episode), np.float32)
        reward[-1] = episode.outcome == Outcome.SUCCESS
        yield Line("reward", "outcome", *thinned(np.arange(len(episode), dtype=np.int32), reward))


def _single_steps(labels: pa.Table) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    whole = pc.and_(pc.is_valid(labels["step"]), pc.is_valid(labels["value"]))
    return pc.and_(whole, pc.is_null(labels["last_step"]))
