"""Which of several layers counts: the first of a rule that has something to say of an episode.

A rule's parts are layer ids (``grip@1``), patterns of them (``success.*``) whose newest layer speaks, and
words: ``person`` (what most people say), ``robot`` (what the episode's log says), ``model`` (the newest layer
of outcomes that no person said), and of rewards ``outcome`` (1 on the last action of a success).
"""

from collections.abc import Sequence
from difflib import get_close_matches

from lwd_core.lake.query import text
from storage_schemas.tables import PERSON

Rule = str | tuple[str, ...]
OUTCOME_WORDS = ("person", "robot", "model")
REWARD_WORDS = ("outcome",)

_COUNTS = "FROM labels WHERE kind = 'outcome' AND replaced_ns IS NULL AND text IS NOT NULL"


def parts(rule: Rule | None) -> tuple[str, ...]:
    """A rule's parts in their order; of None none."""
    return (rule,) if isinstance(rule, str) else rule or ()


def checked(rule: Rule | None, words: Sequence[str]) -> Rule | None:
    """The rule. Raises `ValueError` for a part that is neither one of the words nor a layer."""
    for part in parts(rule):
        if part not in words and "@" not in part and "*" not in part:
            near = get_close_matches(part, words, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{part!r} is no layer (name@version) and none of {', '.join(words)}{meant}")
    if rule is not None and not parts(rule):
        raise ValueError("a rule of no layer; name one, or leave it out")
    return rule


def layers_in(part: str) -> str:
    """SQL condition over ``labels``: rows that count, of the layer that a part of a rule names.

    Of a pattern that is of each episode the layer that spoke of it last.
    """
    if "*" not in part:
        return f"layer_id = {text(part)} AND replaced_ns IS NULL"
    return (
        "replaced_ns IS NULL AND (episode_id, layer_id) IN (SELECT episode_id, "
        "arg_max(layer_id, (created_ns, layer_id)) FROM labels "
        f"WHERE layer_id GLOB {text(part)} AND replaced_ns IS NULL GROUP BY episode_id)"
    )


def may_change(rule: Rule | None) -> bool:
    """Whether what the rule says of an episode can become something else; one layer of a labeller can't."""
    named = parts(rule)
    moving = ("person", "model")
    return len(named) > 1 or any(p in moving or "*" in p or p.startswith(PERSON) for p in named)


def verdicts(rule: Rule) -> str:
    """SQL: ``episode_id`` and ``text``, the outcome of each episode of which any part of the rule says one.

    The first part that says other than unknown counts. One that says two things says nothing.
    """
    said = " UNION ALL ".join(
        f"SELECT {rank} AS rank, * FROM ({_of(part)})" for rank, part in enumerate(parts(rule))
    )
    return (
        "SELECT episode_id, coalesce(arg_min(text, rank) FILTER (text <> 'unknown'), min(text)) AS text "
        f"FROM ({said}) GROUP BY episode_id"
    )


def spoken(rule: Rule | None) -> str:
    """SQL condition over ``episodes``: any part of the rule speaks of it."""
    if rule is None or {"robot", "outcome"} & set(parts(rule)):
        return "true"
    rows = [
        f"SELECT episode_id FROM ({_of(part)})"
        if part in OUTCOME_WORDS
        else f"SELECT episode_id FROM labels WHERE {layers_in(part)}"
        for part in parts(rule)
    ]
    return f"episode_id IN ({' UNION ALL '.join(rows)})"


def _of(part: str) -> str:
    match part:
        case "person":
            votes = (
                f"SELECT episode_id, text, count(*) AS votes {_COUNTS} AND said_by IS NOT NULL GROUP BY ALL"
            )
            return (
                f"SELECT episode_id, arg_max(text, votes) AS text FROM ({votes}) GROUP BY episode_id "
                "HAVING count(*) = 1 OR (max(votes, 2))[1] > (max(votes, 2))[2]"  # a tie says nothing
            )
        case "robot":
            return "SELECT episode_id, outcome AS text FROM episodes"
        case "model":
            return (
                f"SELECT episode_id, arg_max(text, (created_ns, layer_id)) AS text {_COUNTS} "
                "AND said_by IS NULL AND NOT starts_with(layer_id, 'outcome.recorded@') GROUP BY episode_id"
            )
        case _:
            return (
                f"SELECT episode_id, min(text) AS text FROM labels WHERE {layers_in(part)} "
                "GROUP BY episode_id HAVING count(DISTINCT text) = 1"
            )
