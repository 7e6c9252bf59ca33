"""HFlow's catalog read as label layers: what its checks found of logs that lie in the lake.

    <catalog>/episodes, check_runs, measurements, intervals, tags/<episode>-<run>.parquet

HFlow names an episode by the first 16 digits of its canonical MCAP's SHA-256, and the lake a log by all of
them, so a row finds its episodes whatever the file is called. Each version of a check becomes two layers:
``hflow.CHECK@VERSION`` with its verdicts, ``hflow.CHECK.found@VERSION`` with measurements, intervals and
tags. Of several runs the newest counts. What a canonical file itself says (``episode/v1``: task, operator,
success) is read when it is ingested.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.labels.labeller import LayerRun
from lwd_core.labels.said import LONGEST
from lwd_core.labels.written import write_layer
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import LabelKind, Verdict

#: What each table is read for; HFlow adds columns, and older catalogs lack some.
COLUMNS = {
    "episodes": ("episode_id", "run_fingerprint", "recorded_at"),
    "check_runs": ("episode_id", "run_fingerprint", "check_name", "check_version", "status", "error"),
    "measurements": (
        "episode_id",
        "run_fingerprint",
        "check_name",
        "check_version",
        "key",
        "value_double",
        "value_text",
        "value_bool",
    ),
    "intervals": ("episode_id", "run_fingerprint", "check_name", "label", "start_ns", "end_ns"),
    "tags": ("episode_id", "run_fingerprint", "check_name", "tag"),
}
#: A check that measured, was skipped or stood back for another gave no verdict.
VERDICTS = {"passed": Verdict.PASS, "failed": Verdict.FAIL, "error": Verdict.UNKNOWN}
_HEAD = 16  # digits of a log's SHA-256
_AT_A_TIME = 256
_ROWS = pa.schema(
    [
        LABELS.schema.field(name)
        for name in ("episode_id", "step", "last_step", "check", "value", "text", "detail")
    ]
)

Row = dict[str, Any]


@dataclass(frozen=True)
class CatalogRead:
    """What came of a catalog.

    ``layers`` that got rows; ``episodes`` of the lake that it speaks of; ``absent`` ones, whose log isn't
    in the lake; ``outside``: intervals that lie in no step.
    """

    layers: tuple[LayerRun, ...]
    episodes: int
    absent: int
    outside: int


@dataclass(frozen=True)
class _Taken:
    """An episode of the lake, and of the catalog's runs the one that counts."""

    episode_id: str
    steps: int
    run: str


def read_catalog(lake: Lake, catalog: Path, *, now_ns: int) -> CatalogRead:
    """Write what an HFlow catalog says of the lake's logs; again, it adds what is new.

    Raises UserError for a folder that is no catalog and a table that can't be read.
    """
    if not (catalog / "episodes").is_dir():
        raise UserError(f"{catalog}: no HFlow catalog; give the folder that has episodes/ and check_runs/")
    newest = _newest(_table(catalog, "episodes"))
    there = _in_the_lake(lake, newest)
    versions, outside = _versions(catalog, newest), [0]
    layers: dict[tuple[str, LabelKind], list[Row]] = {}
    for name, kind, row in _said(lake, catalog, there, versions, outside):
        layers.setdefault((name, kind), []).append(row)
    runs = [
        write_layer(lake, name, kind, pa.Table.from_pylist(rows, _ROWS), now_ns=now_ns)
        for (name, kind), rows in sorted(layers.items())
    ]
    return CatalogRead(
        tuple(runs), sum(map(len, there.values())), len(newest.keys() - there.keys()), outside[0]
    )


def _table(catalog: Path, name: str) -> list[Row]:
    """All rows of a table, with null for a column an older catalog lacks."""
    parquet: Any = import_module("pyarrow.parquet")
    rows: list[Row] = []
    for file in sorted((catalog / name).glob("*.parquet")):
        try:
            have: set[str] = set(parquet.read_schema(file).names)
            wanted = [column for column in COLUMNS[name] if column in have]
            read: list[Row] = parquet.read_table(file, columns=wanted).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{file}: can't be read ({error}); copy the catalog anew") from error
        if missing := {"episode_id", "run_fingerprint"} - have:
            raise UserError(
                f"{file}: has no column {', '.join(sorted(missing))}; is it a table of HFlow's catalog?"
            )
        rows += [dict.fromkeys(COLUMNS[name]) | row for row in read]
    return rows


def _newest(episodes: Sequence[Row]) -> dict[str, str]:
    """Of each of the catalog's episodes the run recorded last."""
    last: dict[str, tuple[Any, str]] = {}
    for row in episodes:
        of = (row["recorded_at"] is not None, row["recorded_at"], row["run_fingerprint"])
        if row["episode_id"] not in last or of > last[row["episode_id"]][0]:
            last[row["episode_id"]] = (of, row["run_fingerprint"])
    return {episode: run for episode, (_, run) in last.items()}


def _in_the_lake(lake: Lake, newest: Mapping[str, str]) -> dict[str, list[_Taken]]:
    """By the catalog's name of an episode those of the lake that its log gave."""
    names = [name for name in newest if re.fullmatch(rf"[0-9a-f]{{{_HEAD}}}", name)]
    rows = lake.read(
        "episodes",
        columns=("episode_id", "log_id", "steps"),
        where=f"left(log_id, {_HEAD}) IN (SELECT unnest(?)) ORDER BY episode_id",
        params=(names,),
    ).to_pylist()
    found: dict[str, list[_Taken]] = {}
    for row in rows:
        name = row["log_id"][:_HEAD]
        found.setdefault(name, []).append(_Taken(row["episode_id"], row["steps"], newest[name]))
    return found


def _versions(catalog: Path, newest: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """By episode and check the version that ran; intervals and tags don't say theirs."""
    return {
        (row["episode_id"], row["check_name"] or ""): row["check_version"] or "1"
        for row in _table(catalog, "check_runs")
        if newest.get(row["episode_id"]) == row["run_fingerprint"]
    }


def _said(
    lake: Lake,
    catalog: Path,
    there: Mapping[str, list[_Taken]],
    versions: Mapping[tuple[str, str], str],
    outside: list[int],
) -> Iterator[tuple[str, LabelKind, Row]]:
    """Each label with its layer."""

    def of_newest(name: str) -> Iterator[tuple[Row, _Taken, str, str]]:
        for row in _table(catalog, name):
            check = row["check_name"] or "episode"
            version = row.get("check_version") or versions.get(
                (row["episode_id"], row["check_name"] or ""), "1"
            )
            for taken in there.get(row["episode_id"], ()):
                if taken.run == row["run_fingerprint"]:
                    yield row, taken, f"hflow.{_plain(check)}", _plain(version)

    for row, taken, name, version in of_newest("check_runs"):
        if verdict := VERDICTS.get(row["status"] or ""):
            said = {"check": row["check_name"], "text": str(verdict), "detail": _short(row["error"])}
            yield f"{name}@{version}", LabelKind.QUALITY, {"episode_id": taken.episode_id} | said
    for row, taken, name, version in of_newest("measurements"):
        told = row["value_double"] if row["value_double"] is not None else row["value_bool"]
        value = None if told is None else float(told)
        said = {"check": row["key"], "value": value, "text": _short(row["value_text"])}
        yield f"{name}.found@{version}", LabelKind.ANNOTATION, {"episode_id": taken.episode_id} | said
    for row, taken, name, version in of_newest("tags"):
        said = {"check": "tag", "text": _short(row["tag"])}
        yield f"{name}.found@{version}", LabelKind.ANNOTATION, {"episode_id": taken.episode_id} | said
    spans = list(of_newest("intervals"))
    times = _times(lake, {taken.episode_id for _, taken, _, _ in spans})
    within: set[int] = set()
    for row, taken, name, version in spans:
        span = _steps(times.get(taken.episode_id), row["start_ns"], row["end_ns"], taken.steps)
        if span is None:
            continue
        within.add(id(row))
        said = {"check": "interval", "text": _short(row["label"]), "step": span[0], "last_step": span[1]}
        yield f"{name}.found@{version}", LabelKind.ANNOTATION, {"episode_id": taken.episode_id} | said
    outside[0] = len({id(row) for row, *_ in spans} - within)


def _times(lake: Lake, episodes: set[str]) -> dict[str, np.ndarray]:
    """When each episode's steps were, ns since epoch, (R,) i64."""
    found: dict[str, np.ndarray] = {}
    names = sorted(episodes)
    for start in range(0, len(names), _AT_A_TIME):
        rows = lake.read(
            "steps",
            columns=("episode_id", "t_ns"),
            where="episode_id IN (SELECT unnest(?)) ORDER BY episode_id, step",
            params=(names[start : start + _AT_A_TIME],),
        )
        owners, at = np.unique(np.asarray(rows["episode_id"]), return_index=True)
        for owner, times in zip(owners, np.split(rows["t_ns"].to_numpy(), at[1:]), strict=True):
            found[str(owner)] = times
    return found


def _steps(times: np.ndarray | None, start: int | None, end: int | None, last: int) -> tuple[int, int] | None:
    """The steps from ``start`` to ``end``; where they lie between two, the one before. None where in none."""
    if times is None or not len(times) or start is None or end is None or end < times[0] or start > times[-1]:
        return None
    final = min(int(np.searchsorted(times, end, "right")) - 1, last)
    first = min(int(np.searchsorted(times, start, "left")), final)
    return max(first, 0), final


def _plain(name: str) -> str:
    """A name that a layer can have."""
    return re.sub(r"[^\w.-]+", "_", name) or "_"


def _short(text: str | None) -> str | None:
    return text[:LONGEST] if text else None
