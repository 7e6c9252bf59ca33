"""Learn to label from labelled episodes, say how well it goes on those held out, and keep the model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.judges.figures import Figure, of_ranking
from lwd_core.judges.kept import Kept, keep
from lwd_core.judges.networks import Array
from lwd_core.judges.observations import Looks, along, observations, some, whole
from lwd_core.judges.progress import learn_progress, progress_figures
from lwd_core.judges.ranking import Auc, auc, pooled
from lwd_core.judges.success import FEWEST, learn_success, success_figures
from lwd_core.judges.targets import RULE, folds, outcomes
from lwd_core.labels.batches import each_batch
from lwd_core.labels.function import NAME
from lwd_core.lake.episode import Episode
from lwd_core.lake.store import Lake
from lwd_core.snapshots.rule import Rule, parts
from storage_schemas.embodiment import Embodiment

#: Chance of the outcome it says, below which a success model says unknown.
SURE = 0.8


class What(StrEnum):
    """What a model learns to say."""

    SUCCESS = "success"
    PROGRESS = "progress"


@dataclass(frozen=True)
class Learned:
    """A model kept in the lake: of how many episodes, how many of them people ``judged``, held-out figures by
    name, and those of each task. ``skipped`` are tasks it didn't learn, with the reason.
    """

    layer_id: str
    episodes: int
    judged: int
    figures: Mapping[str, Figure]
    tasks: Sequence[Mapping[str, Any]] = field(repr=False)
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class _Task:
    """Labelled episodes of one task of one robot type, as they are seen."""

    views: list[Array] = field(default_factory=list[Array])
    came: list[Array] = field(default_factory=list[Array])
    yes: list[bool] = field(default_factory=list[bool])
    groups: list[str] = field(default_factory=list[str])


def train(
    lake: Lake,
    what: What,
    *,
    name: str = "",
    where: str = "true",
    params: Sequence[Any] = (),
    rule: Rule = RULE,
    sight: Looks | None = None,
    sure: float = SURE,
    embodiments: Mapping[str, Embodiment] | None = None,
    now_ns: int,
) -> Learned:
    """Learn from the episodes `outcomes` gives, and keep the model under the next version of ``name``, by
    default ``model.success`` or ``model.progress``.

    Figures are of episodes held out. Raises `UserError` where no task has enough of either outcome.
    """
    name = name or f"model.{what}"
    if not NAME.fullmatch(name):
        raise UserError(f"model {name!r}: its name is letters, digits and _, in parts by dots")
    if not 0.5 <= sure < 1:
        raise UserError(f"sure {sure}: a chance from 0.5 to below 1")
    labelled = outcomes(lake, where=where, params=params, rule=rule)
    seen = _seen(lake, labelled, what, sight, embodiments or {})
    heads: list[Mapping[str, Array]] = []
    tasks: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    held = _HeldOut()
    for (robot, task), own in sorted(seen.items()):
        yes = np.array(own.yes, float)
        wins, losses = int(yes.sum()), int(len(yes) - yes.sum())
        if wins < FEWEST or (what is What.SUCCESS and losses < FEWEST):
            skipped[f"{task} of {robot}"] = (
                f"{wins} successes and {losses} failures; it takes {FEWEST} successes"
                + (f" and {FEWEST} failures" if what is What.SUCCESS else "")
            )
            continue
        learn = _success if what is What.SUCCESS else _progress
        head, figures = learn(own, yes, held, sure)
        heads.append(head)
        facts = {"embodiment": robot, "task": task, "successes": wins, "failures": losses}
        tasks.append(facts | {"width": own.views[0].shape[-1], "figures": _plain(figures)})
    if not heads:
        raise UserError(f"model {name}: no task has enough labelled episodes: {_first(skipped)}")
    total = held.figures(what, sure)
    judged = int(labelled["judged"].to_numpy().sum())
    about = {
        "what": str(what), "created_ns": now_ns, "where": where, "rule": list(parts(rule)), "sure": sure,
        "judged": judged, "versions": lake.versions(), "heads": tasks, "figures": _plain(total),
        "skipped": skipped, "pictures": sight.about() if sight else None,
    }  # fmt: skip
    ids = labelled["episode_id"].to_pylist()
    model = keep(lake, Kept(name, 0, about, heads, sight.arrays() if sight else {}), ids)
    return Learned(model.layer_id, labelled.num_rows, judged, total, tasks, skipped)


@dataclass
class _HeldOut:
    """What was said of held-out episodes of all tasks."""

    ranked: list[Auc] = field(default_factory=list[Auc])
    chances: list[Array] = field(default_factory=list[Array])
    yes: list[Array] = field(default_factory=list[Array])
    told: list[Array] = field(default_factory=list[Array])
    came: list[Array] = field(default_factory=list[Array])

    def figures(self, what: What, sure: float) -> dict[str, Figure]:
        """Of all tasks; the AUC is that within tasks, so that to know an easy one earns nothing."""
        if what is What.SUCCESS:
            found = success_figures(np.concatenate(self.chances), np.concatenate(self.yes), sure)
        else:
            found = progress_figures(self.told, self.came)
        if any(one.known for one in self.ranked):
            found["auc"] = of_ranking(pooled(self.ranked))
        return found


def _success(
    own: _Task, yes: Array, held: _HeldOut, sure: float
) -> tuple[Mapping[str, Array], dict[str, Figure]]:
    head, chances = learn_success(np.stack(own.views), yes, folds(own.groups))
    held.ranked.append(auc(chances, yes))
    held.chances.append(chances)
    held.yes.append(yes)
    return head.arrays(), success_figures(chances, yes, sure)


def _progress(
    own: _Task, yes: Array, held: _HeldOut, _sure: float
) -> tuple[Mapping[str, Array], dict[str, Figure]]:
    won = np.flatnonzero(yes)
    views, came = [own.views[i] for i in won], [own.came[i] for i in won]
    head, told = learn_progress(views, came, folds([own.groups[i] for i in won]))
    # no failure was learned from
    failures = [float(head(own.views[i][-1:])[0]) for i in np.flatnonzero(yes == 0)]
    ends = auc([*(curve[-1] for curve in told), *failures], np.repeat([1, 0], [len(told), len(failures)]))
    held.ranked.append(ends)
    held.told += told
    held.came += came
    figures = progress_figures(told, came)
    return head.arrays(), figures | ({"auc": of_ranking(ends)} if ends.known else {})


def _seen(
    lake: Lake, labelled: pa.Table, what: What, sight: Looks | None, embodiments: Mapping[str, Embodiment]
) -> dict[tuple[str, str], _Task]:
    """Views of the labelled episodes, by robot type and task."""
    rows = {row["episode_id"]: row for row in labelled.to_pylist()}
    found: dict[tuple[str, str], _Task] = {}

    def look(episodes: list[Episode]) -> list[tuple[str, Array, Array]]:
        views: list[tuple[str, Array, Array]] = []
        for episode in episodes:
            try:
                seen = observations(episode, sight)
            except UserError as error:
                raise UserError(f"episode {episode.id}: {error}; or leave it out by --where") from error
            at = some(len(seen))
            view = whole(seen) if what is What.SUCCESS else along(seen)[at]
            views.append((episode.id, view, at / max(1, len(seen) - 1)))
        return views

    for batch in each_batch(lake, labelled, embodiments, look):
        for episode_id, view, came in batch:
            row = rows[episode_id]
            # states of another width are another robot's, whatever its name
            own = found.setdefault((row["embodiment"], row["task"]), _Task())
            if own.views and own.views[0].shape[-1] != view.shape[-1]:
                raise UserError(
                    f"episode {episode_id}: its states are of another width than those of "
                    f"{row['embodiment']} before; choose some by `--where`"
                )
            own.views.append(view)
            own.came.append(came)
            own.yes.append(row["success"])
            own.groups.append(row["log_id"])
    return found


def _plain(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    return {name: asdict(figure) for name, figure in figures.items()}


def _first(skipped: Mapping[str, str]) -> str:
    return "; ".join(f"{task}: {why}" for task, why in list(skipped.items())[:3])
