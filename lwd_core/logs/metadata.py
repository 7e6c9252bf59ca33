"""What a log says of itself, as the facts an episode has: its task, instruction, outcome, operator."""

import re
from collections.abc import Mapping

from storage_schemas.embodiment import Embodiment, TaskRule
from storage_schemas.vocabulary import Outcome

# keys others use, read where the embodiment file maps nothing; without regard to capitals
_KNOWN = {
    "task": ("task", "task_name"),
    "instruction": ("instruction", "language_instruction", "task_description", "prompt"),
    "outcome": ("outcome", "success", "result"),
    "operator": ("operator", "operator_id", "operator_name", "teleoperator"),
}
UNNAMED = TaskRule.default
_WON = frozenset({"success", "succeeded", "successful", "true", "1", "1.0", "yes"})
_LOST = frozenset({"failure", "failed", "fail", "unsuccessful", "false", "0", "0.0", "no"})


def episode_facts(
    facts: Mapping[str, str], records: Mapping[str, str], embodiment: Embodiment
) -> tuple[dict[str, str], list[str]]:
    """A log's facts with those an episode has, and notes of mapped ones that are not there.

    ``records`` are by ``record.key``; the embodiment's ``facts`` come before keys that are well known.
    """
    found, notes = dict(facts), []
    by_key = {k.lower(): v for k, v in facts.items()}
    for fact, keys in _KNOWN.items():
        for key in keys:
            if by_key.get(key):
                found[fact] = by_key[key]
                break
    for fact, place in embodiment.facts.items():
        if place in records:
            found[fact] = records[place]
        else:
            notes.append(f"facts: {fact}: the log has no metadata {place}")
    return found, notes


def named_task(task: str, instruction: str, rule: TaskRule) -> tuple[str, str]:
    """An episode's task and its instruction, from what the log says of them and the embodiment's rule.

    A task known only by its instruction gets a short name made of that.
    """
    instruction = instruction or rule.instruction
    task = task or rule.names.get(instruction, "")
    if not task:
        task = rule.default
        if task == UNNAMED and instruction:
            task = "-".join(re.findall(r"[a-z0-9]+", instruction.lower()))[:60] or UNNAMED
    return task, instruction or task


def states_outcome(facts: Mapping[str, str]) -> bool:
    """Whether a log's facts say how it went."""
    return not set(_KNOWN["outcome"]).isdisjoint(k.lower() for k, v in facts.items() if v)


def verdict(word: str) -> str | None:
    """The outcome that a word in use means, None if it is none we know."""
    word = word.strip().lower()
    return Outcome.SUCCESS if word in _WON else Outcome.FAILURE if word in _LOST else None


def outcome_of_word(word: str, embodiment: Embodiment) -> str | None:
    """The outcome that a log's own word means, None if it is none we know."""
    rule, own = embodiment.outcome, word.strip().lower()
    if own in {w.lower() for w in rule.success}:
        return Outcome.SUCCESS
    return Outcome.FAILURE if own in {w.lower() for w in rule.failure} else verdict(word)
