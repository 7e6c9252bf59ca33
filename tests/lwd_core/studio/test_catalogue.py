"""What the grid filters and sorts is what the lake says at a version, and nothing else can be asked."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.lake.query import WrongQuery
from lwd_core.lake.store import Lake
from lwd_core.studio import catalogue as module
from lwd_core.studio import conditions
from lwd_core.studio.catalogue import Catalogue, Catalogues
from lwd_core.studio.filters import EpisodeFilter
from tests.lwd_core.labels.conftest import episode_rows
from tests.lwd_core.studio.conftest import label, say


@pytest.fixture
def lake(home: Path) -> Lake:
    return Lake.open(str(home / "lake"))


@pytest.fixture
def now(lake: Lake) -> Catalogue:
    return Catalogues(lake).newest(now=True)


def ids(catalogue: Catalogue, **asked: object) -> list[str]:
    rows = catalogue.order(EpisodeFilter(**asked))  # type: ignore[arg-type]
    return [card["episode_id"] for card in catalogue.cards(rows)]


def test_filters_mean_what_they_say(now: Catalogue) -> None:
    assert ids(now) == ["e0002", "e0001", "e0000"]
    assert ids(now, order="oldest", outcome=("success", "failure")) == ["e0000", "e0001"]
    assert ids(now, robot=("r1",)) == ["e0001"]
    assert ids(now, policy=("",)) == ["e0002", "e0001", "e0000"], "an empty word is none"
    assert ids(now, quality=("fail",)) == ["e0001"]
    assert ids(now, text="e0002") == ["e0002"]
    assert ids(now, text="CUP", since="2026-01-02") == []
    assert ids(now, where="steps > 40 AND site = 'north' -- or not") == ["e0002", "e0001"]
    assert ids(now, helped="yes") == []
    first = ids(now, order="random:1")
    assert first == ids(now, order="random:1")
    assert sorted(first) == ["e0000", "e0001", "e0002"]


def test_labels_are_summed_up(now: Catalogue) -> None:
    cards = {card["episode_id"]: card for card in now.cards(now.order(EpisodeFilter()))}
    # the newer version of a check speaks for the one before
    assert [cards[e]["quality"] for e in sorted(cards)] == ["pass", "fail", None]
    assert [cards[e]["checks_failed"] for e in sorted(cards)] == [0, 1, 0]
    assert cards["e0000"]["value_drop"] == pytest.approx(0.6)
    assert ids(now, drop=0.5) == ["e0000"]
    assert ids(now, order="drop")[0] == "e0000"
    assert ids(now, disagree="yes") == [], "of an episode nobody knows the outcome of, nothing disagrees"


def test_what_a_person_says_is_seen_and_what_they_replaced_is_not(lake: Lake) -> None:
    catalogues = Catalogues(lake, every_s=0)
    before = catalogues.newest(now=True)
    person = {"layer_id": "person.ada.outcome@1", "kind": "outcome", "said_by": "ada"}
    say(
        lake,
        label(0, **person, text="unknown", replaced_ns=5),
        label(0, **person, text="failure", created_ns=5),
    )
    assert ids(before, labelled="yes") == [], "a catalogue never changes"
    catalogues.follow()
    after = catalogues.newest()
    assert after.number == before.number + 1
    assert (
        ids(after, labelled="yes") == ids(after, disagree="yes") == ids(after, said_by=("ada",)) == ["e0000"]
    )
    assert catalogues.at(before.number) is before
    (card,) = after.cards(after.order(EpisodeFilter(labelled="yes")))
    assert (card["said"], card["said_by"]) == ("failure", "ada")


def test_only_what_changed_is_read_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogues = Catalogues(lake, every_s=0)
    catalogues.newest(now=True)
    read: list[str] = []
    whole = module.query.scan
    monkeypatch.setattr(module.query, "scan", lambda table, files: read.extend(files) or whole(table, files))
    lake.append("episodes", episode_rows(5, day="2026-01-02").slice(3))
    catalogues.follow()
    assert catalogues.newest().episodes == 5
    assert {file.split("/day=")[1][:10] for file in read if "/episodes/" in file} == {"2026-01-02"}
    assert not [file for file in read if "/labels/" in file]


def test_an_erased_episode_is_gone(lake: Lake) -> None:
    catalogues = Catalogues(lake, every_s=0)
    catalogues.newest(now=True)
    lake.replace("episodes", episode_rows(0), {"episode_id": ["e0001"]})
    catalogues.follow()
    assert ids(catalogues.newest()) == ["e0002", "e0000"]
    assert catalogues.newest().row("e0001") is None


def test_the_grid_stands_before_labels_are_summed_up(lake: Lake) -> None:
    first = Catalogues(lake).newest()
    assert first.episodes == 3
    assert "labels" not in first.versions
    assert ids(first, quality=("fail",)) == []


def test_counts_are_of_what_passes(now: Catalogue) -> None:
    counts = now.counts(EpisodeFilter(outcome=("success", "failure")))
    assert sorted(counts["outcome"]) == [("failure", 1), ("success", 1)]
    assert counts["policy_id"] == [(None, 2)]


def test_a_condition_may_ask_other_tables(now: Catalogue) -> None:
    asked = "episode_id IN (SELECT episode_id FROM labels WHERE \"check\" = 'still')"
    assert ids(now, where=asked) == ["e0001"]


def test_a_condition_reads_the_lake_and_nothing_else(now: Catalogue) -> None:
    for where, said in (
        ("nothing = 1", "nothing"),
        ("true; DROP TABLE episodes", "syntax error"),
        ("true) ; COPY episodes TO 'x.csv' --", "syntax error"),
        ("episode_id IN (SELECT content FROM read_text('/etc/passwd'))", "/etc/passwd"),
        ("steps = (SELECT count(*) FROM read_parquet('/tmp/*.parquet'))", "disabled"),
        ("getenv('HOME') = 'x'", "getenv"),
    ):
        with pytest.raises(WrongQuery, match=said):
            now.order(EpisodeFilter(where=where))
    assert len(now.order(EpisodeFilter())) == 3


def test_a_condition_that_takes_too_much_is_ended(now: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in (
        "list_sum(range(3000000000)) > 0",  # folded by the planner, in one function
        "(SELECT sum(length(repeat('x', 100000000))) FROM range(100000)) > 0",
    ):
        with monkeypatch.context() as hasty:
            hasty.setattr(conditions, "SECONDS", 1.0)
            with pytest.raises(UserError, match="takes more than|Out of Memory"):
                now.order(EpisodeFilter(where=where))
    assert ids(now, where="steps > 40", order="oldest") == ["e0001", "e0002"], "the next is answered"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("outcom", "success")], "did you mean outcome"),
        ([("order", "newset")], "did you mean newest"),
        ([("drop", "much")], "no number"),
        ([("helped", "maybe")], "yes or no"),
        ([("since", "foo")], "since: 'foo' is no day"),
        ([("until", "2026-02-30")], "until: '2026-02-30' is no day"),
        ([("order", "random:1'")], "no order"),
    ],
)
def test_a_wrong_filter_is_named(given: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        EpisodeFilter.parse(given)
