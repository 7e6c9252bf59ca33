"""Closed vocabularies: a word that no one would find again is refused where it would be stored."""

import pyarrow as pa
import pytest

from lwd_core.errors import UserError
from lwd_core.lake.conform import conform
from storage_schemas.tables import EPISODES, LABELS, TABLES
from storage_schemas.vocabulary import Outcome
from tests.lwd_core.lake.rows import episode_row, label_rows


@pytest.mark.parametrize("column", ["source", "outcome", "outcome_from", "end"])
def test_another_word_is_refused_and_named(column: str) -> None:
    with pytest.raises(UserError, match=f"table episodes: column '{column}' has 'sucess'; its words are "):
        conform(
            EPISODES,
            pa.concat_tables([episode_row("a", "l", 3), episode_row("b", "l", 3, **{column: "sucess"})]),
        )


def test_the_words_allowed_are_named() -> None:
    with pytest.raises(UserError, match="its words are success, failure, unknown$"):
        conform(EPISODES, episode_row("a", "l", 3, outcome="Success"))


def labels(kind: str, text: str | None) -> pa.Table:
    rows = label_rows(episode_row("a", "l", 3).to_pylist()).to_pylist()
    return pa.Table.from_pylist([rows[0] | {"kind": kind, "text": text}], schema=LABELS.schema)


def test_what_a_label_may_say_depends_on_its_kind() -> None:
    for kind, text in (("outcome", "failure"), ("quality", "pass"), ("phase", "grasp"), ("reward", None)):
        assert conform(LABELS, labels(kind, text)).num_rows == 1
    with pytest.raises(UserError, match="column 'text' has 'pass'; its words are success"):
        conform(LABELS, labels("outcome", "pass"))
    with pytest.raises(UserError, match="column 'kind' has 'verdict'"):
        conform(LABELS, labels("verdict", None))


def test_rows_of_an_old_lake_keep_their_words() -> None:
    old = episode_row("a", "l", 3, outcome="won")
    assert conform(EPISODES, old, stored=True)["outcome"].to_pylist() == ["won"]


def test_every_closed_column_says_so() -> None:
    closed = {(t.name, c.name) for t in TABLES.values() for c in t.columns if c.words or c.words_by}
    assert {("logs", "state"), ("steps", "actor"), ("segments", "reason"), ("releases", "state")} <= closed
    assert len(closed) == 17
    assert EPISODES.columns[EPISODES.names.index("outcome")].words is Outcome
