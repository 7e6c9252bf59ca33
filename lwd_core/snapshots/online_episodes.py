"""What policies learned from that followed the lake, and so stand on episodes without a snapshot.

Such a policy's configuration holds the spec it followed the lake by. It may have drawn from every episode of
the spec that was in the lake when the policy was made: a few that came in its last seconds included.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lwd_core.lake.store import Lake
from lwd_core.snapshots.select import NoEpisodes, pin, selected
from lwd_core.snapshots.spec import SnapshotSpec


def episodes_followed(lake: Lake, policies: Sequence[str]) -> list[str]:
    """Episodes that any of these policies may have drawn from while it followed the lake."""
    found: set[str] = set()
    for spec, made in _runs(lake, "list_contains(?, policy_id)", list(policies)):
        latest = max(made.values())
        found |= {e for e, arrived in _arrivals(lake, spec).items() if arrived <= latest}
    return sorted(found)


def policies_following(lake: Lake, episodes: Sequence[str]) -> list[str]:
    """Policies that may have drawn from any of these episodes while they followed the lake."""
    wanted, found = set(episodes), []
    for spec, made in _runs(lake, "true"):
        arrivals = [arrived for e, arrived in _arrivals(lake, spec).items() if e in wanted]
        if arrivals:
            found += [policy for policy, made_ns in made.items() if made_ns >= min(arrivals)]
    return sorted(found)


def _runs(lake: Lake, where: str, *params: Any) -> list[tuple[SnapshotSpec, Mapping[str, int]]]:
    """For each spec followed: the policies that followed it, and when each was made."""
    rows = lake.sql(
        "SELECT policy_id, created_ns, json_extract(config, '$.follow')::VARCHAR AS follow FROM policies "
        f"WHERE json_type(config, '$.follow') = 'OBJECT' AND {where} ORDER BY created_ns",
        params,
    ).to_pylist()
    runs: dict[str, dict[str, int]] = {}
    for row in rows:
        runs.setdefault(row["follow"], {})[row["policy_id"]] = row["created_ns"]
    return [(SnapshotSpec.parse(json.loads(spec)), made) for spec, made in runs.items()]


def _arrivals(lake: Lake, spec: SnapshotSpec) -> dict[str, int]:
    """When each episode of the spec came into the lake."""
    try:
        ids = [episode["episode_id"] for episode in selected(lake, spec, pin(lake, spec))]
    except NoEpisodes:
        return {}
    rows = lake.read(
        "episodes",
        columns=["episode_id", "created_ns"],
        where="episode_id IN (SELECT unnest(?))",
        params=(ids,),
    )
    return dict(zip(rows["episode_id"].to_pylist(), rows["created_ns"].to_pylist(), strict=True))
