"""Drafting an embodiment from a set of rows: columns by what they are called, and by their values.

Names tell state from action; values tell a past action from a state, a flag from a vector, an actor from a
count. What was left out, and what only a person can know, stands above the draft.
"""

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from lwd_core.logs.draft.draft import Draft, DraftDim, DraftFeature
from lwd_core.logs.draft.naming import short_names, unique
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from lwd_core.logs.tabular_facts import FLAGS, INTERVENTION_ALIASES, SUCCESS_COLUMNS, flags

_EPISODES = 8  # looked at
_WIDEST = 512
_NAMED = 12  # columns that a line names
_STATE = re.compile(r"^(observations?|obs|states?|qpos|qvel)($|[./])")
_SIMULATOR = re.compile(
    r"^(states?|qpos|qvel)($|[./])"
)  # all a simulator knows; state only where nothing was observed
_ACTION_COLUMNS = ("action", "actions")
_ACTION_PART = re.compile(r"^actions?[./]")
_PROPOSED_COLUMNS = ("proposed_action", "complementary_info.policy_action", "policy_action")
_PAST_ACTION = re.compile(r"(^|[._/])((last|prev|previous|past)_)?act(ion)?s?($|[._/])")
_GENERATOR = re.compile(r"(^|[./])datagen_info[./]")
# bookkeeping, never a measurement
_NO_STATE = re.compile(
    r"capture_time_ns$|^(next[._]|next_obs|annotation\.|complementary_info[./]|infos?[./]|mask($|/)|initial_state/)"
    r"|(^|[._/])(timestamp|frame_index|episode_index|index|task_index|rewards?|seed|valid)($|/)"
)
_REWARDS = ("next.reward", "rewards", "reward")
# rates that a layout's recorders use where the file says none
_USUAL_HZ = {"aloha": 50.0}


@runtime_checkable
class OfRows(Protocol):
    """A reader whose log is rows."""

    def peek(self, source: LogSource, episodes: int) -> list[dict[str, np.ndarray]]:
        """Number columns of the first episodes, (N,) or (N, W, …); flat sets give all rows as one."""
        ...


def fill(draft: Draft, survey: Survey, reader: OfRows, source: LogSource) -> None:
    """Draft the columns of a set of rows."""
    seen = reader.peek(source, _EPISODES)
    topics = {name: t for name, t in survey.topics.items() if 0 < _width(name, t, seen) <= _WIDEST}
    action = [n for n in topics if n in _ACTION_COLUMNS] or [n for n in topics if _ACTION_PART.match(n)]
    proposed = [n for n in topics if n in _PROPOSED_COLUMNS]
    state = _states(draft, topics, action, proposed, seen)
    draft.state = _features(state, topics, seen)
    draft.action = _features(action, topics, seen)
    draft.proposed = _features(proposed[:1], topics, seen)
    _cameras(draft, survey)
    _actor(draft, seen)
    _outcome(draft, survey, seen)
    _rate(draft, survey)
    _left_out(draft, survey, seen)
    draft.source = "play" if survey.facts.get("layout") == "ogbench" else "demonstration"
    if survey.facts.get("layout") == "aloha":
        draft.name = (
            re.sub(r"_?\d+$", "", draft.name) or draft.name
        )  # one file an episode, one embodiment of all


def _states(
    draft: Draft,
    topics: dict[str, Topic],
    action: Sequence[str],
    proposed: Sequence[str],
    seen: list[dict[str, np.ndarray]],
) -> list[str]:
    taken = {*action, *proposed, *FLAGS, *INTERVENTION_ALIASES, *_PROPOSED_COLUMNS}
    vectors = [n for n in topics if n not in taken and not _NO_STATE.search(n)]
    state = [n for n in vectors if _STATE.match(n)]
    observed = [n for n in state if not _SIMULATOR.match(n)]
    if observed and len(observed) < len(state):
        left = ", ".join(n for n in state if n not in observed)
        draft.open.append(f"{left}: taken for what only a simulator knows, left out of the state")
        state = observed
    if helpers := [n for n in state if _GENERATOR.search(n)]:
        draft.open.append(
            f"{', '.join(helpers)}: what a data generator knows; leave out what no robot measures"
        )
    past = [n for n in state if _PAST_ACTION.search(n)]
    if past:
        draft.open.append(f"{', '.join(past)}: called like the action (a past one?), left out of the state")
        state = [n for n in state if n not in past]
    if not state and (
        state := [n for n in vectors if not _PAST_ACTION.search(n) and _width(n, topics[n], seen) > 1]
    ):
        draft.open.append("state: no column is called like one; every vector else was taken")
    for name in list(state):
        past_of, same_as = (any(_is_past(name, a, seen, ago) for a in action) for ago in (1, 0))
        if past_of and len(state) > 1 and _begins_empty(name, seen):
            state.remove(name)
            draft.open.append(f"{name}: 0, then the action of the row before; left out of the state")
        elif past_of or same_as:
            whose = "the row before" if past_of else "that row"
            draft.open.append(f"{name}: each row is the action of {whose}; is it measured?")
    return state


def _features(
    names: Sequence[str], topics: dict[str, Topic], seen: list[dict[str, np.ndarray]]
) -> list[DraftFeature]:
    """Features with dims that no other has; ranges as the first episodes show them."""
    short = short_names(names)
    labels: list[list[str]] = []
    for name in names:
        prefix = short[name]
        width = _width(name, topics[name], seen)
        given = unique(topics[name].names) if len(topics[name].names) == width else []
        if not given:
            given = [prefix if width == 1 and len(names) > 1 else f"{prefix}_{i}" for i in range(width)]
        elif len(names) > 1:
            given = [n if n.startswith(prefix) else f"{prefix}_{n}" for n in given]
        labels.append(given)
    every = unique([label for given in labels for label in given])
    features = []
    for name, given in zip(names, labels, strict=True):
        mine, every = every[: len(given)], every[len(given) :]
        ranges = _ranges(name, len(given), seen)
        features.append(
            DraftFeature(name, tuple(DraftDim(n, seen=r) for n, r in zip(mine, ranges, strict=True)))
        )
    return features


def _width(name: str, topic: Topic, seen: list[dict[str, np.ndarray]]) -> int:
    """Numbers a row: as the rows have them, else as the log says; 0 for what holds none."""
    for columns in seen:
        if name in columns:
            column = columns[name]
            return int(np.prod(column.shape[1:], dtype=np.int64)) if column.dtype.kind in "bifu" else 0
    return 0 if topic.schema in ("image", "video") or not _is_number(topic.schema) else topic.width or 0


def _is_number(schema: str) -> bool:
    return bool(re.search(r"float|double|int|bool", schema)) and not schema.startswith("struct")


def _ranges(name: str, width: int, seen: list[dict[str, np.ndarray]]) -> list[tuple[float, float] | None]:
    parts = [c[name].reshape(len(c[name]), -1) for c in seen if name in c and len(c[name])]
    parts = [p for p in parts if p.shape[1] == width]
    if not parts:
        return [None] * width
    rows = np.concatenate(parts).astype(np.float64)
    rows[~np.isfinite(rows)] = np.nan
    return [(float(np.nanmin(c)), float(np.nanmax(c))) if not np.isnan(c).all() else None for c in rows.T]


def _begins_empty(name: str, seen: list[dict[str, np.ndarray]]) -> bool:
    """Whether a column is 0 in the first row of every episode and not ever after."""
    parts = [c[name] for c in seen if name in c and len(c[name])]
    return all(not p[0].any() for p in parts) and any(p.any() for p in parts)


def _is_past(name: str, action: str, seen: list[dict[str, np.ndarray]], ago: int = 1) -> bool:
    """Whether a column holds, to the bit, the action of ``ago`` rows before."""
    rows = same = 0
    for columns in seen:
        state, act = columns.get(name), columns.get(action)
        n = 0 if state is None or act is None else min(len(state) - ago, len(act))
        if state is None or act is None or n < 2 or state.shape[1:] != act.shape[1:]:
            continue
        rows += n
        same += int((state[ago : n + ago] == act[:n]).reshape(n, -1).all(axis=1).sum())
    return rows > 0 and same > 0.9 * rows


def _cameras(draft: Draft, survey: Survey) -> None:
    pictures = []
    for name, topic in survey.topics.items():
        if name.startswith("next_"):
            continue
        if topic.schema == "video" and not topic.messages:
            draft.open.append(f"{name}: declared as video, but no file is there")
        elif topic.schema in ("image", "video") or topic.schema.startswith("struct<bytes"):
            pictures.append(name)
    draft.cameras = [(short, name, "data") for name, short in short_names(pictures).items()]
    if any(survey.topics[name].schema == "video" for name in pictures):
        draft.open.append("cameras: videos are decoded to JPEG at ingest; delete those you don't need")


def _actor(draft: Draft, seen: list[dict[str, np.ndarray]]) -> None:
    """A column of numbers called source: who acted where it changes within an episode, else a count."""
    parts = [c["source"] for c in seen if "source" in c and c["source"].dtype.kind in "iuf"]
    if not parts or any(alias in c for c in seen for alias in INTERVENTION_ALIASES if alias != "source"):
        return
    if np.isin(np.concatenate([p.reshape(-1) for p in parts]), (0, 1)).all() and any(
        np.ptp(p) for p in parts
    ):
        draft.sections["actor"] = {"topic": "source"}
        draft.open.append("actor: source is 0 or 1 and changes within episodes; 1 is taken for a person")
    else:
        draft.open.append(
            "source: does not change within episodes, taken for a count of sets and not for who acted"
        )


def _outcome(draft: Draft, survey: Survey, seen: list[dict[str, np.ndarray]]) -> None:
    if any(_tells(c) for c in seen) or survey.facts.get("outcome"):
        return
    for name in _REWARDS:
        rewards = [np.nan_to_num(c[name].astype(np.float64)).reshape(-1) for c in seen if name in c]
        if not rewards or not any(r.any() for r in rewards):
            continue
        # a reward of 0, then 1 where the task is done; anything else is a measure of its own
        if all(np.isin(r, (0.0, 1.0)).all() and (np.diff(r) >= 0).all() for r in rewards):
            draft.sections["outcome"] = {"topic": name, "success_at": 1}
            draft.open.append(f"outcome: {name} is 0 until it is 1, taken for success")
            return
    draft.open.append("outcome: the set says nothing of success; name a column (a reward) or a default")


def _tells(columns: dict[str, np.ndarray]) -> bool:
    """Whether a column flags success: of each action, or of each state where those are one more."""
    n = _rows(columns)
    told = {k: columns[k][-n:] for k in SUCCESS_COLUMNS if k in columns and len(columns[k]) <= n + 1}
    return n > 0 and flags(told, SUCCESS_COLUMNS, n) is not None


def _left_out(draft: Draft, survey: Survey, seen: list[dict[str, np.ndarray]]) -> None:
    """Say which vectors nothing maps; bookkeeping goes without saying."""
    mapped = {f.topic for f in (*draft.state, *draft.action, *draft.proposed)}
    left = [
        name
        for name, topic in survey.topics.items()
        if name not in mapped and not _NO_STATE.search(name) and _width(name, topic, seen) > 1
    ]
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        draft.open.append(f"not mapped: {', '.join(left[:_NAMED])}{more}")


def _rows(columns: dict[str, np.ndarray]) -> int:
    return next((len(columns[n]) for n in _ACTION_COLUMNS if n in columns), 0)


def _rate(draft: Draft, survey: Survey) -> None:
    fps = survey.facts.get("fps")
    draft.control_hz = float(fps) if fps else _USUAL_HZ.get(survey.facts.get("layout", ""), 20.0)
    if not fps:
        draft.open.append(f"control_hz: the set does not say its rate; {draft.control_hz:g} is a guess")
