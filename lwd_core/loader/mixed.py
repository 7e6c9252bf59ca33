"""Two loaders as one: offline and online data in one batch."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from lwd_core.errors import UserError
from lwd_core.loader.transition_loader import TensorBatch


class Part(Protocol):
    """What a mixture is made of: ``TransitionLoader`` and ``GrowingLoader`` are such parts."""

    @property
    def batch_size(self) -> int: ...

    @property
    def step(self) -> int: ...

    @property
    def instructions(self) -> list[str]: ...

    @property
    def tasks(self) -> list[str]: ...

    @property
    def policies(self) -> list[str]: ...

    def batch(self, step: int) -> TensorBatch: ...
    def __iter__(self) -> Iterator[TensorBatch]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class MixedLoader:
    """Batches whose first rows come from ``offline`` and the others from ``online``.

    ``ratio`` is the offline share of a batch. The parts' own batch sizes must be in that ratio: build them
    with ``parts(batch_size, ratio)``. ``instruction``, ``task`` and ``policy`` count in the mixture's own
    lists, which begin with the offline ones; ``part`` (B,) i64 is 0 for offline rows and 1 for online ones;
    ``episode`` and ``frame`` are within the row's part. Of a ``GrowingLoader`` its ``version`` is kept, -1 in
    offline rows.
    """

    def __init__(self, offline: Part, online: Part, ratio: float = 0.5) -> None:
        size = offline.batch_size + online.batch_size
        if parts(size, ratio) != (offline.batch_size, online.batch_size):
            raise UserError(
                f"mixture: parts of {offline.batch_size} and {online.batch_size} are not {ratio:g} offline; "
                f"a batch of {size} needs {parts(size, ratio)}"
            )
        self.offline, self.online, self.batch_size = offline, online, size
        self._lists = {name: _union(getattr(offline, name)) for name in ("instructions", "tasks", "policies")}
        self._tables: dict[str, torch.Tensor] = {}

    @property
    def step(self) -> int:
        """Batches given so far."""
        return self.offline.step

    @property
    def instructions(self) -> list[str]:
        """What a batch's ``instruction`` counts in; grows at its end only."""
        return self._extended("instructions")

    @property
    def tasks(self) -> list[str]:
        """What a batch's ``task`` counts in; grows at its end only."""
        return self._extended("tasks")

    @property
    def policies(self) -> list[str]:
        """What a batch's ``policy`` counts in; grows at its end only."""
        return self._extended("policies")

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step."""
        return self._join(self.offline.batch(step), self.online.batch(step))

    def __iter__(self) -> Iterator[TensorBatch]:
        for old, new in zip(self.offline, self.online, strict=False):
            yield self._join(old, new)

    def state_dict(self) -> dict[str, Any]:
        """Both parts' states."""
        return {"offline": self.offline.state_dict(), "online": self.online.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly after the batch the state was taken at."""
        self.offline.load_state_dict(state["offline"])
        self.online.load_state_dict(state["online"])
        self._tables.clear()

    def _extended(self, name: str) -> list[str]:
        return self._with(name, list(getattr(self.online, name)))

    def _with(self, name: str, texts: list[str]) -> list[str]:
        known = self._lists[name]
        known += [text for text in texts if text not in known]
        return known

    def _join(self, offline: TensorBatch, online: TensorBatch) -> TensorBatch:
        online = dict(online)
        for index, name in (("instruction", "instructions"), ("task", "tasks"), ("policy", "policies")):
            online[index] = self._renumbered(name, online[index])
        batch = {name: torch.cat((offline[name], online[name])) for name in offline}
        sizes = len(offline["reward"]), len(online["reward"])
        if "version" in online:
            batch["version"] = torch.cat((torch.full((sizes[0],), -1), online["version"]))
        batch["part"] = torch.cat(
            (torch.zeros(sizes[0], dtype=torch.int64), torch.ones(sizes[1], dtype=torch.int64))
        )
        return batch

    def _renumbered(self, name: str, indices: torch.Tensor) -> torch.Tensor:
        # a copy: a growing loader's thread may add to its list meanwhile
        texts, table = list(getattr(self.online, name)), self._tables.get(name)
        if table is None or len(table) != len(texts) + 1:
            known = self._with(name, texts)
            # the last entry is where -1, none, looks
            self._tables[name] = table = torch.tensor([*map(known.index, texts), -1])
        return table[indices]


def parts(batch_size: int, ratio: float) -> tuple[int, int]:
    """Rows of a batch that are offline and online."""
    offline = round(batch_size * ratio)
    return offline, batch_size - offline


def _union(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))
