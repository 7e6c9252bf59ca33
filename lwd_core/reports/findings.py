"""The figures of a report, before anyone draws them: one value per round of learning.

Everything comes from the lake's tables and from the metrics files training leaves behind,
so a report can be made again at any time, and ``report.json`` is this module's output.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from lwd_core.lake.store import Lake
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.policies.scenes import Purpose, seed_range
from lwd_core.storage.location import open_location

#: Beside a run's metrics, what `lwd run assess --save` found of it.
ASSESSMENT = "assessment.json"


@dataclass(frozen=True)
class RoundOfLearning:
    """What the report is told about a round: its fleet day, its policy, its metrics file (JSON lines)."""

    name: str
    stage: str
    day: str
    policy_id: str
    metrics: str = ""


@dataclass(frozen=True)
class FleetDay:
    """What the robots did on the day whose logs the round learned from."""

    day: str
    episodes: int
    success: Rate
    interventions: int
    human_share: float  # of all control ticks


@dataclass(frozen=True)
class Evaluated:
    """Success of a policy on scenes nobody trained on."""

    overall: Rate
    tasks: Mapping[str, Rate]


@dataclass(frozen=True)
class RoundFindings:
    """One round, complete."""

    round: RoundOfLearning
    fleet: FleetDay
    evaluation: Evaluated | None
    training: Mapping[str, float]  # last value of every metric
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(repr=False)  # metric -> (update, value)
    diagnosis: Sequence[Mapping[str, str]] = ()  # findings about the run, where it was assessed


#: SQL: interventions of some episodes. Rows of before count a demonstration as one; it is none.
INTERVENTIONS = (
    "coalesce(sum(interventions) FILTER "
    "(human_steps < steps OR source NOT IN ('demonstration', 'play')), 0)::BIGINT"
)


@dataclass(frozen=True)
class ValueCurve:
    """Learned value along one episode."""

    episode_id: str
    task: str
    outcome: str
    layer_id: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    human: tuple[tuple[int, int], ...]  # (first, last) step of each span a person drove


@dataclass(frozen=True)
class Received:
    """Reconciliation: what arrived and what became of it."""

    state: str
    logs: int
    bytes: int


@dataclass(frozen=True)
class Findings:
    """A whole report."""

    rounds: tuple[RoundFindings, ...]
    values: tuple[ValueCurve, ...]
    received: tuple[Received, ...]

    def gain(self) -> dict[str, object]:
        """First against last evaluated round: rates, and whether their intervals are apart."""
        rated = [r for r in self.rounds if r.evaluation]
        if len(rated) < 2 or rated[0].evaluation is None or rated[-1].evaluation is None:
            return {}
        first, last = rated[0].evaluation.overall, rated[-1].evaluation.overall
        return {
            "from": rated[0].round.name,
            "to": rated[-1].round.name,
            "before": asdict_rate(first),
            "after": asdict_rate(last),
            "difference": last.rate - first.rate,
            "intervals_apart": last.low > first.high,
        }

    def as_json(self) -> dict[str, object]:
        """JSON-ready values; the drawn curves stay in the metrics files."""
        return {
            "rounds": [_round_json(r) for r in self.rounds],
            "gain": self.gain(),
            "received": [asdict(r) for r in self.received],
            "values": [asdict(v) for v in self.values],
        }


def asdict_rate(rate: Rate) -> dict[str, float | None]:
    """A rate as JSON; null and not NaN where nothing was tried."""
    return {**asdict(rate), "rate": rate.rate if rate.trials else None}


def collect(lake: Lake, rounds: Sequence[RoundOfLearning]) -> Findings:
    """Read everything a report shows about these rounds."""
    return Findings(
        rounds=tuple(_round(lake, r) for r in rounds),
        values=value_layer(lake),
        received=tuple(
            Received(**row)
            for row in lake.sql(
                "SELECT state, count(*) AS logs, sum(bytes)::BIGINT AS bytes FROM logs "
                "GROUP BY state ORDER BY state"
            ).to_pylist()
        ),
    )


def _round(lake: Lake, learned: RoundOfLearning) -> RoundFindings:
    curves = read_metrics(learned.metrics) if learned.metrics else {}
    return RoundFindings(
        round=learned,
        fleet=fleet_day(lake, learned.day),
        evaluation=evaluated(lake, learned.policy_id),
        training={name: points[-1][1] for name, points in curves.items()},
        diagnosis=read_diagnosis(learned.metrics) if learned.metrics else (),
        curves=curves,
    )


def fleet_day(lake: Lake, day: str) -> FleetDay:
    """Sum one day of all sites."""
    row = lake.sql(
        "SELECT count(*) AS n, count(*) FILTER (outcome = 'success') AS ok, "
        f"{INTERVENTIONS} AS interventions, "
        "coalesce(sum(human_steps) / nullif(sum(steps), 0), 0)::DOUBLE AS share FROM episodes WHERE day = ?",
        (day,),
    ).to_pylist()[0]
    return FleetDay(day, row["n"], wilson(row["ok"], row["n"]), row["interventions"], row["share"])


def evaluated(lake: Lake, policy_id: str) -> Evaluated | None:
    """Success of a policy by task in evaluation scenes, or None where it was never evaluated."""
    rows = lake.sql(
        "SELECT task, count(*) FILTER (success) AS ok, count(*) AS n FROM evaluations "
        "WHERE policy_id = ? AND seed >= ? AND seed < ? GROUP BY task ORDER BY task",
        (policy_id, *seed_range(Purpose.EVALUATION)),
    ).to_pylist()
    if not rows:
        return None
    return Evaluated(
        overall=wilson(sum(r["ok"] for r in rows), sum(r["n"] for r in rows)),
        tasks={r["task"]: wilson(r["ok"], r["n"]) for r in rows},
    )


def read_metrics(place: str) -> dict[str, list[tuple[float, float]]]:
    """Curves of a metrics file: one JSON object a line, ``update`` and numbers.

    A line cut off by a crash is left out.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    folder, _, name = place.rpartition("/")
    there = open_location(folder)
    text = there.read(name).decode() if there.exists(name) else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        update = float(row.pop("update", 0))
        for name, value in row.items():
            if isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((update, float(value)))
    return curves


def read_diagnosis(place: str) -> list[dict[str, str]]:
    """What was found of the run whose metrics file this is; nothing where nobody assessed it."""
    folder = open_location(place.rpartition("/")[0])
    return json.loads(folder.read(ASSESSMENT))["findings"] if folder.exists(ASSESSMENT) else []


def value_layer(
    lake: Lake, layer_id: str | None = None, *, newest: int | None = None
) -> tuple[ValueCurve, ...]:
    """Curves of a layer of learned values, the newest by default.

    One a task and outcome, or with ``newest`` those of so many episodes that robots worked last.
    """
    if layer_id is None:
        layers = lake.sql(
            "SELECT layer_id FROM labels WHERE starts_with(layer_id, 'value.') "
            "ORDER BY created_ns DESC, layer_id LIMIT 1"
        ).to_pylist()
        if not layers:
            return ()
        layer_id = layers[0]["layer_id"]
    labelled = "episode_id IN (SELECT episode_id FROM labels WHERE layer_id = $1)"
    chosen = (
        f"SELECT task, outcome, min(episode_id) AS episode_id FROM episodes WHERE {labelled} "
        "GROUP BY task, outcome"
        if newest is None
        else f"SELECT task, outcome, episode_id FROM episodes WHERE {labelled} "
        f"ORDER BY start_ns DESC, episode_id LIMIT {int(newest)}"
    )
    rows = lake.sql(
        f"WITH chosen AS ({chosen}) "
        "SELECT c.episode_id, c.task, c.outcome, l.layer_id, list(l.step ORDER BY l.step) AS steps, "
        "list(l.value ORDER BY l.step) AS values FROM labels l JOIN chosen c USING (episode_id) "
        "WHERE l.layer_id = $1 AND l.value IS NOT NULL GROUP BY ALL ORDER BY c.outcome, c.task",
        (layer_id,),
    ).to_pylist()
    human = lake.sql(
        "SELECT episode_id, first_step, last_step FROM segments "
        "WHERE kind <> 'autonomous' AND list_contains(?, episode_id) ORDER BY episode_id, segment",
        ([row["episode_id"] for row in rows],),
    ).to_pylist()
    return tuple(
        ValueCurve(
            episode_id=row["episode_id"],
            task=row["task"],
            outcome=row["outcome"],
            layer_id=row["layer_id"],
            steps=tuple(row["steps"]),
            values=tuple(row["values"]),
            human=tuple(
                (s["first_step"], s["last_step"]) for s in human if s["episode_id"] == row["episode_id"]
            ),
        )
        for row in rows
    )


def _round_json(found: RoundFindings) -> dict[str, object]:
    evaluation = found.evaluation and {
        "overall": asdict_rate(found.evaluation.overall),
        "tasks": {task: asdict_rate(rate) for task, rate in found.evaluation.tasks.items()},
    }
    return {
        "round": asdict(found.round),
        "fleet": {**asdict(found.fleet), "success": asdict_rate(found.fleet.success)},
        "evaluation": evaluation,
        "training": dict(found.training),
        "diagnosis": list(found.diagnosis),
    }
