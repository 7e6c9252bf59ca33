"""Two policies side by side: the scenes both were tried in, what became of each there, and the episodes."""

from typing import Any

from lwd_core.lake.store import Lake
from lwd_core.policies.registry import find

_MOST = 500


def duel(lake: Lake, a: str, b: str) -> dict[str, Any]:
    """Policies by id or its beginning. A scene is a task and the seed it was set up by.

    ``scenes``: task, seed, success of each (null where it was not evaluated there), and an episode of each
    where the lake has one. ``table``: how many scenes both did, only one, neither. Raises `UserError` for a
    policy there is none of.
    """
    ids = [find(lake, side)["policy_id"] for side in (a, b)]
    scenes = lake.sql(
        "WITH tried AS ("
        "SELECT policy_id, task, seed::VARCHAR AS seed, success, NULL AS episode_id FROM evaluations "
        "UNION ALL SELECT policy_id, task, attributes ->> '$.seed' AS seed, "
        "CASE outcome WHEN 'success' THEN true WHEN 'failure' THEN false END, episode_id FROM episodes "
        "WHERE attributes ->> '$.seed' IS NOT NULL), "
        "each_of AS (SELECT policy_id, task, seed, bool_or(success) AS success, "
        "max(episode_id) AS episode_id FROM tried WHERE policy_id IN (?, ?) GROUP BY ALL) "
        "SELECT task, seed, a.success AS a, b.success AS b, a.episode_id AS a_episode, "
        "b.episode_id AS b_episode FROM (FROM each_of WHERE policy_id = ?) a "
        "JOIN (FROM each_of WHERE policy_id = ?) b USING (task, seed) "
        "ORDER BY a.success IS NOT DISTINCT FROM b.success, task, seed",
        (*ids, *ids),
    ).to_pylist()
    table = {"both": 0, "only_a": 0, "only_b": 0, "neither": 0}
    for scene in scenes:
        if None not in (scene["a"], scene["b"]):
            name = {(True, True): "both", (True, False): "only_a", (False, True): "only_b"}
            table[name.get((scene["a"], scene["b"]), "neither")] += 1
    return {"a": ids[0], "b": ids[1], "table": table, "total": len(scenes), "scenes": scenes[:_MOST]}
