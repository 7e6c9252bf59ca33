"""What a person asks of the grid: which episodes, in which order. It is what stands in the page's address."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from lwd_core.errors import UserError, suggest

#: Columns a filter names words of; an empty word is "none".
_WORDS = {
    "task": "task", "robot": "robot_id", "policy": "policy_id", "outcome": "outcome", "source": "source",
    "site": "site", "quality": "quality", "said_by": "said_by",
}  # fmt: skip
_ORDERS = {
    "newest": "start_ns DESC, episode_id",
    "oldest": "start_ns, episode_id",
    "longest": "steps DESC, episode_id",
    "shortest": "steps, episode_id",
    "drop": "value_drop DESC NULLS LAST, episode_id",
    "helped": "human_steps DESC, episode_id",
}


@dataclass(frozen=True)
class EpisodeFilter:
    """Words are alternatives, fields are joined by AND. ``where`` is a person's SQL over the columns of
    ``episodes``; ``order`` one of newest, oldest, longest, shortest, drop, helped, or random:SEED."""

    task: tuple[str, ...] = ()
    robot: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    said_by: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    helped: str = ""
    labelled: str = ""
    disagree: str = ""
    drop: float | None = None
    text: str = ""
    where: str = ""
    order: str = "newest"

    @classmethod
    def parse(cls, given: Iterable[tuple[str, str]]) -> "EpisodeFilter":
        """From the pairs of an address. Raises `UserError` naming the field."""
        known = {field.name: field for field in fields(cls)}
        found: dict[str, Any] = {}
        for name, value in given:
            if name not in known:
                raise UserError(f"filter: no field {name!r}{suggest(name, known)}")
            if name in _WORDS:
                found[name] = (*found.get(name, ()), value)
            elif value == "":
                continue
            elif name in ("helped", "labelled", "disagree") and value not in ("yes", "no"):
                raise UserError(f"filter: {name}: {value!r}; say yes or no")
            elif name in ("since", "until"):
                found[name] = _day(name, value)
            elif name == "drop":
                try:
                    found[name] = float(value)
                except ValueError:
                    raise UserError(f"filter: drop: {value!r} is no number") from None
            else:
                found[name] = value
        made = cls(**found)
        made.order_by()
        return made

    def condition(self) -> tuple[str, list[Any]]:
        """SQL over ``episodes``, and what stands for its marks."""
        parts: list[str] = []
        params: list[Any] = []
        for name, column in _WORDS.items():
            words: tuple[str, ...] = getattr(self, name)
            if words:
                none = f" OR {column} IS NULL" if "" in words else ""
                parts.append(f"({column} IN ({', '.join('?' * len(words))}){none})")
                params += words
        for mark, day in ((">=", self.since), ("<=", self.until)):
            if day:
                parts.append(f"day {mark} ?")
                params.append(day)
        for said, test in ((self.helped, "interventions > 0"), (self.labelled, "said IS NOT NULL"),
                           (self.disagree, "disagree")):  # fmt: skip
            if said:
                parts.append(f"({test})" if said == "yes" else f"NOT ({test})")
        if self.drop is not None:
            parts.append("value_drop >= ?")
            params.append(self.drop)
        if self.text:
            parts.append("(starts_with(episode_id, ?) OR contains(lower(instruction), lower(?)) OR "
                         "contains(lower(task), lower(?)))")  # fmt: skip
            params += [self.text] * 3
        if self.where:
            # a line of its own: a comment at its end hides nothing
            parts.append(f"(\n{self.where}\n)")
        return " AND ".join(parts) or "true", params

    def order_by(self) -> str:
        """SQL. Raises `UserError` for an order there is none of."""
        name, _, seed = self.order.partition(":")
        if name == "random" and seed.isdecimal():
            return f"hash(episode_id || '{seed}'), episode_id"
        if self.order not in _ORDERS:
            raise UserError(f"filter: no order {self.order!r}{suggest(self.order, [*_ORDERS, 'random:1'])}")
        return _ORDERS[self.order]


def _day(name: str, value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise UserError(f"filter: {name}: {value!r} is no day; write 2026-01-31") from None
