"""Loaders of episodes with frames, and what is laid around one: pictures or features beside each sample."""

from collections.abc import Sequence
from typing import Any, Protocol

from lwd_core.errors import UserError, did_you_mean
from lwd_core.loader.images import FrameIndex
from lwd_core.loader.mixed import Part


class Filmed(Part, Protocol):
    """A loader of transitions whose episodes have frames."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def samples(self) -> int:
        """Samples of a batch on this rank."""
        ...

    @property
    def frames(self) -> FrameIndex:
        """Where the frames lie of the episodes that its last batch counts in."""
        ...


class AroundFilmed:
    """A loader that adds to the batches of another, and stands where that one does."""

    def __init__(self, loader: Filmed, cameras: Sequence[str] | None) -> None:
        self.loader, self._cameras = loader, _chosen(loader.cameras, cameras)

    @property
    def step(self) -> int:
        """The next batch's."""
        return self.loader.step

    @property
    def batch_size(self) -> int:
        """Of all ranks together."""
        return self.loader.batch_size

    @property
    def instructions(self) -> list[str]:
        """What a batch's ``instruction`` counts in."""
        return self.loader.instructions

    @property
    def tasks(self) -> list[str]:
        """What a batch's ``task`` counts in."""
        return self.loader.tasks

    @property
    def policies(self) -> list[str]:
        """What a batch's ``policy`` counts in; -1 where none ran."""
        return self.loader.policies

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, as the loader within says."""
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly after the batch the state was taken at."""
        self.loader.load_state_dict(state)


def _chosen(has: tuple[str, ...], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The cameras that are wanted, all by default. UserError for what the loader's episodes have none of."""
    if not has:
        raise UserError("cameras: the snapshot was built without cameras; name them in its spec")
    for camera in wanted or ():
        if camera not in has:
            raise UserError(
                f"cameras: the snapshot has no {camera}, only {', '.join(has)}{did_you_mean(camera, has)}; "
                "name them in its spec"
            )
    return has if wanted is None else tuple(wanted)
