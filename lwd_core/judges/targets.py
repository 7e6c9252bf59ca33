"""What a model learns of episodes: a person's word before the robot's, and never another model's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake

#: Episodes of a task that are learned from; of more a sample, the same each time.
MOST = 4000
FOLDS = 5

_SAID = (
    "SELECT episode_id, min(text) AS text, count(DISTINCT text) AS texts FROM labels WHERE kind = 'outcome' "
    "AND {who} AND replaced_ns IS NULL GROUP BY episode_id"
)
_COLUMNS = "e.episode_id, e.log_id, e.day, e.site, e.steps, e.task, e.embodiment"
_RECORDED = "CASE WHEN e.outcome_from IN ('person', 'robot') THEN e.outcome END"


def outcomes(
    lake: Lake, *, where: str = "true", params: Sequence[Any] = (), layer: str | None = None
) -> pa.Table:
    """Labelled episodes: ``episode_id``, ``log_id``, ``day``, ``site``, ``steps``, ``task``, ``embodiment``,
    ``success`` (bool), and ``said``: person, robot or the layer.

    People's verdicts go before what was recorded, and where two people disagree nothing is learned. With
    ``layer`` (``name@version``) that layer's word alone counts. Raises `UserError` where there is none.
    """
    who = "layer_id = ?" if layer else "said_by IS NOT NULL"
    text = "s.text" if layer else f"coalesce(s.text, {_RECORDED})"
    said = "'layer'" if layer else "CASE WHEN s.text IS NULL THEN e.outcome_from ELSE 'person' END"
    found = lake.sql(
        f"SELECT {_COLUMNS}, {text} = 'success' AS success, {said} AS said FROM episodes e "
        f"LEFT JOIN ({_SAID.format(who=who)}) s USING (episode_id) WHERE coalesce(s.texts, 1) = 1 "
        f"AND {text} IN ('success', 'failure') "
        f"AND e.episode_id IN (SELECT episode_id FROM episodes WHERE {where}) "
        f"QUALIFY row_number() OVER (PARTITION BY e.embodiment, e.task ORDER BY md5(e.episode_id)) <= {MOST} "
        "ORDER BY day, site, episode_id",
        (*([layer] if layer else []), *params),
    )
    if not found.num_rows:
        of = f"layer {layer}" if layer else "a person or a robot"
        raise UserError(
            f"no episode of whose outcome {of} says success or failure; judge some with `lwd label set`"
        )
    return found


def folds(groups: Sequence[str]) -> np.ndarray:
    """Which of `FOLDS` parts each episode (N,) belongs to; those of one group, as a log, lie together."""
    names = sorted(set(groups))
    if len(names) < 2 * FOLDS:  # a few logs of many episodes
        return np.arange(len(groups)) % FOLDS
    # in an order that says nothing of when or where
    shuffled = {names[i]: k for k, i in enumerate(np.random.default_rng(0).permutation(len(names)))}
    return np.array([shuffled[group] for group in groups]) % FOLDS
