"""What rows say besides vectors: who acted, how it went, how it ended, what the task was.

Each is looked for under the names in use. A column counts only where its values are of that meaning's
vocabulary: a number that merely counts merged sets is no actor.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lwd_core.logs import fields, metadata
from lwd_core.logs.assemble import EpisodeFacts
from lwd_core.logs.episodes import read_outcome
from lwd_core.logs.notes import Notes
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome, OutcomeFrom, Source

Columns = Mapping[str, np.ndarray]

# how other projects say that a person chose the action; 1 and true mean a person in all of them
INTERVENTION_ALIASES = (
    "intervention",
    "is_intervention",
    "complementary_info.is_intervention",
    "complementary_info/is_intervention",
    "intervene_flag",
    "intv_labels",
    "action_modes",
    "is_expert",
    "action_source",
    "source",
)
_COUNTS = "source"  # a number under this name counts merged sets as often as it tells who acted
_HUMAN_WORDS = frozenset({"1", "1.0", "true", "human", "teleop", "expert", "person"})
_OTHER_WORDS = frozenset({"0", "0.0", "false", "-1", "-1.0", "-10", "-10.0", "nan", "none", ""}) | frozenset(
    {"policy", "robot", "autonomous", "auto", "agent", "model", "script", "scripted"}
)
#: EpisodeFacts of an episode that tell its outcome by yes and no.
SUCCESS_FACTS = ("success", "is_success", "successful", "is_successful", "succeeded", "task_success")
SUCCESS_COLUMNS = tuple(
    f"{before}{name}"
    for name in SUCCESS_FACTS
    for before in ("next.", "", "infos/", "info/", "infos.", "info.")
)
TERMINATED_COLUMNS = ("next.terminated", "terminated", "terminations", "terminals")
TRUNCATED_COLUMNS = ("next.truncated", "truncated", "truncations", "timeouts")
DONE_COLUMNS = ("next.done", "done", "dones")
FLAGS = frozenset((*SUCCESS_COLUMNS, *TERMINATED_COLUMNS, *TRUNCATED_COLUMNS, *DONE_COLUMNS))


def facts(
    columns: Columns,
    said: Mapping[str, str],
    embodiment: Embodiment,
    n: int,
    ticks: int,
    first: int,
    note: Notes,
    name: str,
) -> EpisodeFacts:
    """Those of episode ``name``: ``n`` rows from the set's ``first`` on, ``ticks`` with its final state."""
    left = dict(said)
    task, instruction = (left.pop(key, "") for key in ("task", "instruction"))
    task, instruction = metadata.named_task(task, instruction, embodiment.task)
    human = _human(columns, embodiment, n, note)
    source = left.pop("source", "")
    if source not in set(Source):
        source = Source.ROLLOUT if human.any() and not human.all() else embodiment.source
    outcome, outcome_from = _outcome(columns, left, embodiment, n, source)
    end = _end(columns, left.pop("end", ""), outcome, n, note, name)
    if (outcome, outcome_from) == (Outcome.SUCCESS, OutcomeFrom.NOBODY):
        end = EpisodeEnd.TERMINATED  # a set whose episodes all succeeded, however it was cut
    policy, operator, robot, site = (
        left.pop(k, "") or None for k in ("policy_id", "operator", "robot_id", "site")
    )
    return EpisodeFacts(
        task=task,
        instruction=instruction,
        source=source,
        outcome=outcome,
        outcome_from=outcome_from,
        end=end,
        human=np.append(human, np.repeat(human[-1:], ticks - n)),
        first_message=first,
        last_message=first + n - 1,
        policy_id=policy,
        operator=operator,
        robot_id=robot,
        site=site,
        attributes=left,
    )


def instructions(texts: np.ndarray, note: Notes, name: str) -> dict[str, str]:
    """What (N,) texts of the rows say: the one most rows have, and where it changes."""
    words, counts = np.unique(texts.astype(str), return_counts=True)
    if not len(words):
        return {}
    said = {"instruction": str(words[counts.argmax()])}
    if len(words) > 1:
        at = np.flatnonzero(np.append(True, texts[1:] != texts[:-1])).tolist()
        note.add(f"the task changes within the episode ({' → '.join(str(texts[i]) for i in at[:4])})", name)
        said["instructions"] = json.dumps([[i, str(texts[i])] for i in at], ensure_ascii=False)
    return said


def verdict(value: Any) -> str:
    """The outcome that one value of a success attribute tells, empty if none."""
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    word = str(value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value)
    return str(metadata.verdict(word) or "")


def flags(columns: Columns, names: Iterable[str], n: int) -> np.ndarray | None:
    """(N,) bool of the first of these columns that holds flags, None where none does."""
    for name in names:
        column = columns.get(name)
        if column is not None and column.size == n and column.dtype.kind in "bifu":
            values = np.nan_to_num(column.reshape(n).astype(float))
            if np.isin(values, (0.0, 1.0)).all():
                return values.astype(bool)
    return None


def is_actor(name: str, column: np.ndarray) -> bool:
    """Whether the values of a column of such a name can say who acted."""
    if name == _COUNTS and column.dtype.kind in "iuf":
        return False
    words = {str(v).lower() for v in np.unique(column.astype(str)).tolist()}
    return words <= _HUMAN_WORDS | _OTHER_WORDS


def _human(columns: Columns, embodiment: Embodiment, n: int, note: Notes) -> np.ndarray:
    """(N,) where a person chose the action: by the embodiment's rule, else by the names others use."""
    rule = embodiment.actor
    if rule.topic is not None:
        if rule.topic in columns:
            return _words(columns[rule.topic], {w.lower() for w in rule.human}, n)
    else:
        for alias in INTERVENTION_ALIASES:
            if alias in columns and columns[alias].size == n:
                if is_actor(alias, columns[alias]):
                    return _words(columns[alias], _HUMAN_WORDS, n)
                note.add(f"column {alias} is not taken for who acted; if it says so, name it under actor")
    human = rule.default == Actor.HUMAN or embodiment.source == Source.DEMONSTRATION
    return np.full(n, human)


def _words(column: np.ndarray, words: Iterable[str], n: int) -> np.ndarray:
    values, places = np.unique(column.reshape(n).astype(str), return_inverse=True)
    return np.array([str(v).lower() in words for v in values], dtype=bool)[places]


def _outcome(
    columns: Columns, said: dict[str, str], embodiment: Embodiment, n: int, source: str
) -> tuple[str, str]:
    outcome, by = said.pop("outcome", ""), said.pop("outcome_from", "")
    known = by in set(OutcomeFrom)
    # An "unknown" that says whose it is was a verdict; a bare one only means that nobody looked.
    outcome = verdict(outcome) or outcome.lower()
    if outcome in set(Outcome) and (outcome != Outcome.UNKNOWN or known):
        return outcome, by if known else OutcomeFrom.ROBOT
    topic = embodiment.outcome.topic
    if topic is not None and topic in columns:
        column = columns[topic].reshape(n, -1)[:, 0]
        if found := read_outcome([fields.text(v.item()) for v in column], embodiment):
            return found, OutcomeFrom.ROBOT
    elif (done := flags(columns, SUCCESS_COLUMNS, n)) is not None:
        return Outcome.SUCCESS if done.any() else Outcome.FAILURE, OutcomeFrom.ROBOT
    # a set that tells of outcomes or flags its ends was collected: what it leaves open is not known
    ends = any(flags(columns, names, n) is not None for names in (TERMINATED_COLUMNS, TRUNCATED_COLUMNS))
    judged = bool(outcome) or any(name in said for name in SUCCESS_FACTS)
    if embodiment.outcome.default is None and (ends or judged):
        return Outcome.UNKNOWN, OutcomeFrom.NOBODY
    return embodiment.outcome_unsaid(source), OutcomeFrom.NOBODY


def _end(columns: Columns, said: str, outcome: str, n: int, note: Notes, name: str) -> str:
    """How an episode ended, by what says it most plainly; a success is where its task ends.

    ``done`` alone is the end of the recording in some sets and of the task in others: it is taken for the
    task's where how that went is known.
    """
    if said in set(EpisodeEnd):
        return said
    terminated, truncated, done = (
        flags(columns, names, n) for names in (TERMINATED_COLUMNS, TRUNCATED_COLUMNS, DONE_COLUMNS)
    )
    for flag in (terminated, truncated, done):
        if flag is not None and (flag[:-1] & ~flag[1:]).any():
            note.add("an end is flagged and rows go on; only the last row's counts", name)
    if outcome == Outcome.SUCCESS or (terminated is not None and terminated[-1]):
        return EpisodeEnd.TERMINATED
    if truncated is not None and truncated[-1]:
        return EpisodeEnd.TRUNCATED
    ends = terminated is None and done is not None and bool(done[-1])
    judged = truncated is not None or outcome == Outcome.FAILURE
    return EpisodeEnd.TERMINATED if ends and judged else EpisodeEnd.TRUNCATED
