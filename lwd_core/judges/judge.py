"""A trained model as a labeller: its layer is its own, beside those of people and robots."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.judges.kept import Kept, find_kept
from lwd_core.judges.observations import Looks, along, observations, whole
from lwd_core.judges.pictures import FrameView
from lwd_core.judges.progress import ProgressHead
from lwd_core.judges.success import SuccessHead
from lwd_core.labels.batches import each_batch
from lwd_core.labels.labeller import Labelled
from lwd_core.labels.said import LabelRows, Said
from lwd_core.lake.episode import Episode
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind, Outcome

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake


@dataclass(frozen=True)
class Judge:
    """Says of episodes what a kept model makes of them; of a task it hasn't learned, that it can't."""

    model: Kept
    sight: Looks | None = None

    @property
    def layer_id(self) -> str:
        """``name@version``, the version counting trainings."""
        return self.model.layer_id

    @property
    def kind(self) -> LabelKind:
        """Outcome or progress."""
        return LabelKind.OUTCOME if self.model.about["what"] == "success" else LabelKind.PROGRESS

    @property
    def description(self) -> str:
        """One line for a person."""
        tasks = ", ".join(head["task"] for head in self.model.about["heads"])
        return f"{self.model.about['what']} of {tasks}, learned from labelled episodes"

    @property
    def source_digest(self) -> str:
        """The model's."""
        return self.model.digest

    def label(
        self, lake: "Lake", episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        """Chances of success with the word for it, or the progress of each step."""
        yield from each_batch(lake, episodes, embodiments, self._answers)

    def _answers(self, episodes: list[Episode]) -> Labelled:
        rows, failed = LabelRows(self.kind, self.model.name), dict[str, str]()
        heads = self._heads()
        for episode in episodes:
            key = (episode.facts["embodiment"], episode.task)
            if key not in heads:
                failed[episode.id] = f"{self.layer_id} hasn't learned {key[1]} of {key[0]}; train it anew"
                continue
            head, width = heads[key]
            try:
                seen = observations(episode, self.sight)
            except UserError as error:
                failed[episode.id] = f"{self.layer_id}: {error}"
                continue
            view = whole(seen)[None] if isinstance(head, SuccessHead) else along(seen)
            if view.shape[1] != width:
                failed[episode.id] = f"what it shows is {view.shape[1]} wide, {self.layer_id} learned {width}"
            elif isinstance(head, SuccessHead):
                rows.add(episode.id, len(episode), self._said(float(head(view)[0])))
            else:
                rows.add(episode.id, len(episode), head(view))
        return Labelled(rows.table(), failed)

    def _said(self, chance: float) -> Said:
        sure = self.model.about["sure"]
        text = (
            Outcome.SUCCESS if chance >= sure else Outcome.FAILURE if chance <= 1 - sure else Outcome.UNKNOWN
        )
        return Said(value=chance, text=str(text), detail="chance of success")

    def _heads(self) -> dict[tuple[str, str], tuple[SuccessHead | ProgressHead, int]]:
        made = SuccessHead if self.kind is LabelKind.OUTCOME else ProgressHead
        return {
            (about["embodiment"], about["task"]): (made.from_arrays(arrays), int(about["width"]))
            for about, arrays in zip(self.model.about["heads"], self.model.heads, strict=True)
        }


def judge_of(lake: "Lake", what: str) -> Judge | None:
    """The model of a layer, ``name@version``, or the newest of a name; None where the lake has none."""
    model = find_kept(lake, what)
    if model is None:
        return None
    pictures = model.about["pictures"]
    return Judge(model, FrameView.from_kept(lake, pictures, model.common) if pictures else None)
