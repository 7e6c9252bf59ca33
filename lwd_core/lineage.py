"""Lineage: from a policy down to raw logs, and from a log, episode or robot up to releases.

Every edge is a row of the lake: policies name snapshots and their parent, members name
episodes and logs, episodes name message ranges, releases name policies. Policies that followed
the lake name the spec they followed it by (``snapshots.online_episodes``).
"""

from dataclasses import dataclass

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.registry import find
from lwd_core.snapshots.online_episodes import episodes_followed, policies_following

# A policy is made of its own snapshots and, through what it started from, of its parents'.
_ANCESTRY = """
WITH RECURSIVE ancestry(policy_id, parent, snapshots, stage, distance) AS (
    SELECT policy_id, parent, snapshots, stage, 0 FROM policies WHERE policy_id = ?
    UNION ALL
    SELECT p.policy_id, p.parent, p.snapshots, p.stage, a.distance + 1
    FROM policies p JOIN ancestry a ON p.policy_id = a.parent
)
"""

# The one row that speaks for a log: the one that is still at its address, where there is one.
_LOG = (
    "SELECT * FROM logs WHERE state <> 'duplicate' "
    "QUALIFY row_number() OVER (PARTITION BY log_id ORDER BY state = 'superseded', uri) = 1"
)


@dataclass(frozen=True)
class Trace:
    """What a policy was made of. Tables are Arrow: a policy may stand on 100,000 episodes.

    ``ancestry``: policy_id, stage, parent, distance. ``snapshots``: digest, policy_id, name,
    state, versions, episodes. ``episodes``: episode_id, log_id, uri, robot_id, site, day, task,
    outcome, first_message, last_message, snapshots (none where the lake was followed). The outcome is
    ``superseded`` where other bytes came to the log's address since, and the lake shows those.
    """

    policy_id: str
    ancestry: pa.Table
    snapshots: pa.Table
    episodes: pa.Table


@dataclass(frozen=True)
class Impact:
    """What rests on some episodes, superseded ones too.

    ``policies`` holds also those that only a parent was trained on.
    """

    episodes: pa.Table
    snapshots: pa.Table
    policies: pa.Table
    releases: pa.Table


def trace(lake: Lake, policy: str) -> Trace:
    """Walk down from a policy (an id or its beginning). Raises UserError where there is none."""
    policy_id = find(lake, policy)["policy_id"]
    ancestry = lake.sql(
        _ANCESTRY + "SELECT policy_id, stage, parent, distance FROM ancestry ORDER BY distance", (policy_id,)
    )
    used = _ANCESTRY + ", used AS (SELECT policy_id, distance, unnest(snapshots) AS digest FROM ancestry) "
    snapshots = lake.sql(
        used + "SELECT s.digest, u.policy_id, s.name, s.state, s.versions, s.episodes "
        "FROM used u JOIN snapshots s USING (digest) ORDER BY u.distance, s.digest",
        (policy_id,),
    )
    followed = episodes_followed(lake, ancestry.column("policy_id").to_pylist())
    episodes = lake.sql(
        used + ", m AS (SELECT episode_id, log_id, digest FROM used JOIN snapshot_members USING (digest) "
        "UNION ALL SELECT episode_id, log_id, NULL FROM episodes WHERE episode_id IN (SELECT unnest(?))) "
        "SELECT m.episode_id, m.log_id, l.uri, coalesce(e.robot_id, l.robot_id) AS robot_id, "
        "coalesce(e.site, l.site) AS site, coalesce(e.day, l.day) AS day, e.task, "
        "CASE WHEN e.log_id IS NULL AND l.state = 'superseded' THEN l.state ELSE e.outcome END AS outcome, "
        "e.first_message, e.last_message, coalesce(list(DISTINCT m.digest ORDER BY m.digest) "
        "FILTER (m.digest IS NOT NULL), []) AS snapshots FROM m LEFT JOIN episodes e USING (episode_id) "
        f"LEFT JOIN ({_LOG}) l ON l.log_id = m.log_id GROUP BY ALL ORDER BY day, m.episode_id",
        (policy_id, followed),
    )
    return Trace(policy_id, ancestry, snapshots, episodes)


def impact(lake: Lake, thing: str) -> Impact:
    """Walk up from an episode id, a log id (or the beginning of one) or a robot id.

    Raises UserError where nothing in the lake is called so.
    """
    episodes = lake.sql(
        "SELECT * FROM (SELECT episode_id, log_id, robot_id, site, day, task, outcome FROM episodes "
        "UNION ALL "
        "SELECT DISTINCT episode_id, log_id, robot_id, site, day, NULL, state FROM snapshot_members "
        f"JOIN ({_LOG}) USING (log_id) WHERE state = 'superseded') "
        "WHERE robot_id = $1 OR starts_with(episode_id, $1) OR starts_with(log_id, $1) "
        "ORDER BY day, episode_id",
        (thing,),
    )
    if episodes.num_rows == 0:
        raise UserError(f"{thing}: no episode, log or robot of this name has episodes in the lake")
    ids = episodes.column("episode_id").to_pylist()
    members = "SELECT DISTINCT digest FROM snapshot_members WHERE list_contains(?, episode_id)"
    snapshots = lake.sql(
        f"SELECT digest, name, state, successor, episodes FROM snapshots WHERE digest IN ({members}) "
        "ORDER BY created_ns",
        (ids,),
    )
    reached = (
        "WITH RECURSIVE reached(policy_id) AS ("
        "SELECT policy_id FROM policies "
        f"WHERE list_has_any(snapshots, (SELECT list(digest) FROM ({members}))) "
        "OR list_contains(?, policy_id) "
        "UNION SELECT p.policy_id FROM policies p JOIN reached r ON p.parent = r.policy_id) "
    )
    followers = policies_following(lake, ids)
    policies = lake.sql(
        reached + "SELECT p.policy_id, p.stage, p.parent, p.train_step FROM policies p "
        "JOIN reached USING (policy_id) ORDER BY p.created_ns",
        (ids, followers),
    )
    releases = lake.sql(
        reached + "SELECT r.release_id, r.channel, r.policy_id, r.state FROM releases r "
        "JOIN reached USING (policy_id) ORDER BY r.created_ns",
        (ids, followers),
    )
    return Impact(episodes, snapshots, policies, releases)
