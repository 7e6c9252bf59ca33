"""What a model learns of episodes: a person's word before the robot's, and never another model's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.snapshots.rule import OUTCOME_WORDS, Rule, checked, parts, verdicts

#: Episodes of a task that are learned from; of more a sample, the same each time.
MOST = 4000
FOLDS = 5

#: Whose word is learned from, the first that has one.
RULE = ("person", "robot")

_ASKED = "e.episode_id, e.log_id, e.day, e.site, e.steps, e.task, e.embodiment"
_PERSON = (
    "SELECT episode_id FROM labels WHERE kind = 'outcome' AND said_by IS NOT NULL AND replaced_ns IS NULL"
)


def outcomes(lake: Lake, *, where: str = "true", params: Sequence[Any] = (), rule: Rule = RULE) -> pa.Table:
    """Labelled episodes: ``episode_id``, ``log_id``, ``day``, ``site``, ``steps``, ``task``, ``embodiment``,
    ``success`` (bool), and ``judged`` (bool): a person said something of it.

    ``rule`` is one of snapshots, of layers and the words person, robot and model. Raises `UserError` where it
    names nothing, and where nothing is labelled.
    """
    try:
        rule = checked(rule, OUTCOME_WORDS) or RULE
    except ValueError as error:
        raise UserError(f"rule {rule}: {error}") from error
    found = lake.sql(
        f"SELECT {_ASKED}, v.text = 'success' AS success, e.episode_id IN ({_PERSON}) AS judged "
        f"FROM episodes e JOIN ({verdicts(rule)}) v USING (episode_id) "
        "WHERE v.text IN ('success', 'failure') "
        f"AND e.episode_id IN (SELECT episode_id FROM episodes WHERE {condition(where)}) "
        f"QUALIFY row_number() OVER (PARTITION BY e.embodiment, e.task ORDER BY md5(e.episode_id)) <= {MOST} "
        "ORDER BY day, site, episode_id",
        tuple(params),
    )
    if not found.num_rows:
        raise UserError(
            f"rule {', '.join(parts(rule))}: says success or failure of no episode; judge some with "
            "`lwd label set`"
        )
    return found


def folds(groups: Sequence[str]) -> np.ndarray:
    """Which of `FOLDS` parts each episode (N,) belongs to; those of one group, as a log, lie together."""
    names = sorted(set(groups))
    if len(names) < 2 * FOLDS:  # a few logs of many episodes
        return np.arange(len(groups)) % FOLDS
    # in an order that says nothing of when or where
    order: list[int] = np.random.default_rng(0).permutation(len(names)).tolist()
    shuffled = {names[i]: k for k, i in enumerate(order)}
    return np.array([shuffled[group] for group in groups]) % FOLDS
