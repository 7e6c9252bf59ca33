"""A run looked at as a whole: critic, extraction, policy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np

from lwd_core.assessment.episodes import HeldOut, held_out
from lwd_core.assessment.verdict import (
    ALL,
    LEAST_AUC,
    Curve,
    Grade,
    Measurement,
    last,
    of_calibration,
    of_choice,
    of_curves,
    of_gain,
    of_policy,
    of_rank,
    of_spread,
)
from lwd_core.errors import UserError
from lwd_core.judges.calibration import Calibration, calibrate
from lwd_core.judges.ranking import Auc, auc, pooled
from lwd_core.policies.intervals import Rate
from lwd_core.reports.findings import asdict_rate, read_metrics
from lwd_core.rl.learner import LearnerConfig
from lwd_core.rl.qam import QAM
from lwd_core.settings import Settings
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.holdout import batch_means
from lwd_core.training.reporters import METRICS
from lwd_core.training.values import has_critic
from storage_schemas.vocabulary import Split

#: What of a run's metrics is looked at over time.
CURVES = ("entropy", "tau", "path_kl", "temperature", "q_gain", "heldout_q_gain")


@dataclass(frozen=True)
class Assessment:
    """Everything found of a run.

    ``means`` are over batches of held-out data, empty where there is none; ``ranks`` by share of an episode,
    then by task, ``all`` first; ``success`` by who chose, where that was tried in simulation. ``notes`` say
    what could not be looked at, and why.
    """

    run: str
    stage: str
    update: int
    checkpoint: str
    where: str
    episodes: int
    helped: int
    means: Mapping[str, float]
    ranks: Mapping[float, Mapping[str, Auc]]
    calibration: Calibration | None
    curves: Mapping[str, Curve] = field(repr=False)
    success: Mapping[str, Mapping[str, Rate]]
    findings: tuple[Measurement, ...]
    notes: tuple[str, ...]

    @property
    def bad(self) -> tuple[Measurement, ...]:
        """Those findings that ask for something to be done."""
        return tuple(f for f in self.findings if f.verdict is Grade.BAD)

    def as_json(self) -> dict[str, Any]:
        """Plain values; null where a number is not known."""
        return {
            **{name: getattr(self, name) for name in ("run", "stage", "update", "checkpoint", "where")},
            "episodes": self.episodes,
            "helped": self.helped,
            "means": dict(self.means),
            "auc": [
                {"share": share, "task": task, **asdict(found), "value": found.value if found.known else None}
                for share, tasks in self.ranks.items()
                for task, found in tasks.items()
            ],
            "calibration": self.calibration and asdict(self.calibration),
            "curves": {name: [list(point) for point in curve] for name, curve in self.curves.items()},
            "success": [
                {"who": who, "task": task, **asdict_rate(rate)}
                for who, tasks in self.success.items()
                for task, rate in tasks.items()
            ],
            "findings": [asdict(f) for f in self.findings],
            "notes": list(self.notes),
        }


def assess(
    checkpoint: Checkpoint,
    settings: Settings,
    *,
    snapshot: str = "",
    split: str = Split.HOLDOUT,
    batches: int = 20,
    episodes: int = 1_000,
    success: Mapping[str, Mapping[str, Rate]] | None = None,
) -> Assessment:
    """All that can be said of a run. ``snapshot`` and ``split`` are of the means over ``batches``;
    ``episodes`` is how many are followed at most; ``success`` what was simulated.

    UserError where a snapshot is named that doesn't fit.
    """
    config, notes = TrainConfig.parse(checkpoint.about["config"], addresses=False), []
    means: dict[str, float] = {}
    try:
        means = batch_means(checkpoint, settings, snapshot=snapshot, split=split, batches=batches)
    except UserError as error:
        if snapshot:
            raise
        notes.append(f"no means over held-out batches: {error}")
    place, _, _ = checkpoint.uri.rstrip("/").rpartition("/")
    curves = {k: v for k, v in read_metrics(f"{place}/{METRICS}").items() if k in CURVES}
    held, ranks, calibration = HeldOut((), ""), {}, None
    findings: list[Measurement] = []
    if not has_critic(checkpoint):
        notes.append(
            f"no V in a run of stage {config.stage} by {config.algorithm.kind}: "
            "only means over batches and figures over time can be looked at"
        )
    else:
        try:
            held = held_out(checkpoint, settings, most=episodes)
        except UserError as error:  # a snapshot is gone, or there is no lake on this machine
            held = HeldOut((), str(error))
        ranks, calibration = _ranks(held), _calibration(held)
        if not held.tracks:
            notes.append(f"no episodes to follow V along: {held.where}")
        else:
            findings += [of_rank(share, found[ALL]) for share, found in ranks.items()]
        if calibration is not None:
            findings += [of_calibration(calibration), of_spread(*_spreads(held))]
    if has_critic(checkpoint):
        learner = cast(LearnerConfig, config.learner.made)
        extraction = learner.extraction.made
        findings += of_curves(curves, learner.divl, extraction if isinstance(extraction, QAM) else None)
        if not curves:
            notes.append(f"no figures over time: {place}/{METRICS} is missing or empty")
    seen = last(curves["q_gain"]) if "q_gain" in curves else None
    if seen is not None or "q_gain" in means:
        findings.append(of_gain(means.get("q_gain"), seen))
    if success:
        if {"best", "worst"} <= success.keys():
            findings.append(of_choice(success["best"][ALL], success["worst"][ALL]))
        if {"policy", "reference"} <= success.keys():
            findings.append(of_policy(success["policy"][ALL], success["reference"][ALL]))
    return Assessment(
        run=config.run,
        stage=str(config.stage),
        update=checkpoint.about["update"],
        checkpoint=checkpoint.uri,
        where=held.where if held.tracks else "",
        episodes=len(held.tracks),
        helped=sum(track.helped for track in held.tracks),
        means=means,
        ranks=ranks,
        calibration=calibration,
        curves=curves,
        success=success or {},
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _ranks(held: HeldOut) -> dict[float, dict[str, Auc]]:
    tasks = sorted({track.task for track in held.tracks})
    found: dict[float, dict[str, Auc]] = {}
    for share in LEAST_AUC if tasks else ():
        by_task = {}
        for task in tasks:
            own = [track for track in held.tracks if track.task == task]
            by_task[task] = auc([track.at(share) for track in own], [track.success for track in own])
        found[share] = {ALL: pooled(list(by_task.values())), **by_task}
    return found


def _calibration(held: HeldOut) -> Calibration | None:
    return calibrate([track.value for track in held.tracks], [track.came for track in held.tracks])


def _spreads(held: HeldOut) -> Sequence[tuple[float, float]]:
    """5 % and 95 % quantiles of V and of what came, over all states."""
    sides = ([getattr(track, name) for track in held.tracks] for name in ("value", "came"))
    spans = (np.quantile(np.concatenate(side), (0.05, 0.95)).tolist() for side in sides)
    return [(low, high) for low, high in spans]
