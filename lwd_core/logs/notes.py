"""Findings on a log, one line each however many episodes it was met in."""

_NAMED = 3  # episodes a line names; the rest are counted


class Notes:
    """Lines in the order they were first met, each with the episodes it is of."""

    def __init__(self) -> None:
        self._met: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._met)

    def add(self, text: str, episode: str = "") -> None:
        """Add a finding; ``episode`` names where, empty for the log as a whole."""
        where = self._met.setdefault(text, [])
        if episode and episode not in where:
            where.append(episode)

    @property
    def lines(self) -> tuple[str, ...]:
        """``episode 3: rows ordered by frame_index`` and the like."""
        return tuple(f"{_names(where)}: {text}" if where else text for text, where in self._met.items())


def _names(where: list[str]) -> str:
    more = len(where) - _NAMED
    return ", ".join(where[:_NAMED]) + (f" and {more} more" if more > 0 else "")
