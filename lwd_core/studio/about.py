"""All that is known of one episode but its numbers and pictures, as plain values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_core.labels.registry import VALUES
from lwd_core.lake.episode import Episode
from lwd_core.lake.store import Lake
from lwd_core.lineage import impact
from lwd_core.studio.catalogue import Catalogue
from lwd_core.studio.strips import CameraFilm
from storage_schemas.vocabulary import LabelKind, SegmentKind

#: Ticks named as events one by one; of more there is only a count.
_MOST = 200
_ELSEWHERE = ("attributes", "start_ns", "end_ns", "created_ns")


def about(catalogue: Catalogue, episode: Episode, films: list[CameraFilm]) -> dict[str, Any]:
    """Facts, attributes, cameras, ribbon of actors, events, checks, words of labels, and where its log is.

    Times are seconds from the first step.
    """
    facts = episode.facts
    start = facts["start_ns"]
    t_ns = episode["t_ns"]
    return {
        "facts": {name: value for name, value in facts.items() if name not in _ELSEWHERE},
        # nanoseconds since epoch are more than a number of JavaScript holds
        "start_ns": str(start), "end_ns": str(facts["end_ns"]),
        "attributes": episode.attributes,
        "t": _seconds(t_ns, start),
        "cameras": [
            {"name": f.camera, "t": _seconds(f.t_ns, start), "step": f.step.tolist()}
            for f in films
        ],
        "segments": [_plain(row, start) for row in episode.segments.to_pylist()],
        "events": _events(episode, start),
        "labels": _labels(episode),
        "values": _values(episode),
        "log": {"uri": episode.log_uri, "log_id": facts["log_id"],
                "first_message": facts["first_message"], "last_message": facts["last_message"]},
        "peers": peers(catalogue, episode),
    }  # fmt: skip


def _seconds(t_ns: npt.NDArray[np.int64], start: int) -> list[float]:
    return np.round((t_ns - start) / 1e9, 6).tolist()


def _plain(row: Mapping[str, Any], start: int) -> dict[str, Any]:
    names = ("kind", "actor", "who", "reason", "first_step", "last_step")
    return {name: row[name] for name in names} | {
        "from": (row["start_ns"] - start) / 1e9, "to": (row["end_ns"] - start) / 1e9
    }  # fmt: skip


def _events(episode: Episode, start: int) -> list[dict[str, Any]]:
    """What happened when: take-overs, ticks that are masked or after a gap, the end."""
    t = (episode["t_ns"] - start) / 1e9
    found: list[dict[str, Any]] = []
    for row in episode.segments.to_pylist():
        if row["kind"] == SegmentKind.INTERVENTION:
            who = f"{row['who'] or 'somebody'} takes over" + (f": {row['reason']}" if row["reason"] else "")
            found.append({"step": row["first_step"], "what": who})
            found.append({"step": row["last_step"], "what": "hands back"})
    for name, flagged, what in (
        ("valid", ~episode["valid"], "masked"),
        ("gap", episode["gap"], "gap before"),
    ):
        del name
        steps = np.flatnonzero(flagged)
        if len(steps) > _MOST:
            found.append({"step": int(steps[0]), "what": f"{what}: {len(steps)} ticks from here on"})
        else:
            found += [{"step": int(step), "what": what} for step in steps]
    found.append({"step": len(t) - 1, "what": f"{episode.outcome} ({episode.facts['outcome_from']}), "
                  f"{episode.facts['end']}"})  # fmt: skip
    for event in found:
        event["t"] = float(t[min(event["step"], len(t) - 1)])
    return sorted(found, key=lambda event: event["step"])


def _labels(episode: Episode) -> list[dict[str, Any]]:
    """Every label that is of the whole episode or of a range; curves are drawn, not listed."""
    names = ("layer_id", "kind", "check", "step", "last_step", "value", "text", "detail", "said_by")
    curves = (LabelKind.REWARD, LabelKind.PROGRESS)
    return [
        {name: row[name] for name in names} | {"created_ns": str(row["created_ns"])}
        for row in episode.labels.to_pylist()
        if row["step"] is None or row["last_step"] is not None or row["kind"] not in curves
    ]


def _values(episode: Episode) -> list[str]:
    """Layers of critics, the newest first."""
    rows = episode.labels.select(["created_ns", "layer_id"]).to_pylist()
    found = {(row["created_ns"], row["layer_id"]) for row in rows if row["layer_id"].startswith(VALUES)}
    return list(dict.fromkeys(layer for _, layer in sorted(found, reverse=True)))


def peers(catalogue: Catalogue, episode: Episode, most: int = 20) -> list[dict[str, Any]]:
    """Other attempts at the same task in the same scene, by whichever policy, newest first."""
    seed = episode.attributes.get("seed")
    if seed is None:
        return []
    return catalogue.ask(
        "SELECT episode_id, policy_id, robot_id, source, outcome, steps, day FROM episodes "
        "WHERE task = ? AND scene = ? AND episode_id <> ? ORDER BY start_ns DESC LIMIT ?",
        (episode.task, seed, episode.id, most),
    ).to_pylist()


def lineage(lake: Lake, episode_id: str) -> dict[str, list[dict[str, Any]]]:
    """What rests on the episode: snapshots, policies, releases."""
    found = impact(lake, episode_id)
    return {name: getattr(found, name).to_pylist() for name in ("snapshots", "policies", "releases")}
