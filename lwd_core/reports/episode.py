"""Everything the lake holds of one episode but the frames' bytes."""

import json
from dataclasses import dataclass

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake


@dataclass(frozen=True)
class EpisodeView:
    """The rows of one episode: ``facts`` is its own, the others those that belong to it."""

    facts: dict
    attributes: dict[str, str]
    steps: pa.Table
    segments: list[dict]
    labels: list[dict]
    log_uri: str | None


def episode_view(lake: Lake, episode: str) -> EpisodeView:
    """Find the one episode whose id starts with ``episode``. Raises UserError."""
    rows = lake.read("episodes", where="starts_with(episode_id, ?)", params=(episode,)).to_pylist()
    if len(rows) != 1:
        problem = "no such episode" if not rows else f"{len(rows)} episodes start like this"
        raise UserError(
            f"episode {episode}: {problem}; `lwd sql 'SELECT episode_id FROM episodes'` lists them"
        )
    facts = rows[0]
    identity = (facts["day"], facts["site"], facts["episode_id"])
    here = "day = ? AND site = ? AND episode_id = ?"
    uris = lake.read(
        "logs",
        columns=["uri"],
        where="log_id = ? AND state NOT IN ('duplicate', 'superseded')",
        params=(facts["log_id"],),
    )
    return EpisodeView(
        facts=facts,
        attributes=json.loads(facts["attributes"]),
        steps=lake.read("steps", where=f"{here} ORDER BY step", params=identity),
        segments=lake.read("segments", where=f"{here} ORDER BY segment", params=identity).to_pylist(),
        labels=lake.read(
            "labels", where=f'{here} ORDER BY layer_id, "check", step', params=identity
        ).to_pylist(),
        log_uri=uris.column("uri")[0].as_py() if uris.num_rows else None,
    )
