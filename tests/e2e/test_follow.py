"""Robots, ingest and learner as three processes that know of each other through the lake and the channel."""

import signal
from pathlib import Path

import pytest

from lwd_core.fleet.workcells import Workcells
from lwd_core.lake.person_query import ask
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import Checkpoint, newest_checkpoint
from lwd_core.training.reporters import read_metrics
from tests.e2e.live import deployed, process, until

LEARN = ("train", "online", "--follow", "--publish-every", "20", "--poll-every", "10", "--updates", "1000000")
FLEET = ("fleet", "run", "--robots", "2", "--cameras", "0", "--task", "drawer-open", "--speed", "20")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cells = Workcells()
    made = deployed(tmp_path_factory.mktemp("follow"), cells)
    cells.close()
    return made


def released(lake: Lake) -> list[str]:
    """Policies the online learner has put into production, oldest first."""
    rows = lake.sql(
        "SELECT r.policy_id FROM releases r JOIN policies p USING (policy_id) "
        "WHERE r.state = 'production' AND p.stage = 'online' ORDER BY r.created_ns"
    )
    return rows.column("policy_id").to_pylist()


def acted(lake: Lake) -> dict[str, set[str]]:
    """Policies by the online episodes whose steps name them."""
    rows = lake.sql("SELECT e.policy_id, e.episode_id FROM episodes e WHERE e.source = 'online'").to_pylist()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["policy_id"], set()).add(row["episode_id"])
    return found


def test_releases_reach_the_robots_and_their_episodes_the_learner(settings: Settings) -> None:
    lake = Lake.open(settings.lake)

    def went_round() -> bool:
        online = set(released(lake))
        return len(online & set(acted(lake))) >= 2 and _drawn_after(settings, acted(lake), online)

    with (
        process(settings, "ingest", "--follow", "--every", "0.5") as taking_in,
        process(settings, *FLEET) as robots,
        process(settings, *LEARN) as learner,
    ):
        until(went_round, 150, learner, robots, taking_in)
        learner.send_signal(signal.SIGINT)
        assert learner.wait(60) == 130
        robots.send_signal(signal.SIGTERM)
        assert robots.wait(60) == 143
    stopped = newest(settings)
    assert stopped.about["drawn"][0][0] == 0
    versions = [drawn["episodes"] for _, drawn in stopped.about["drawn"]]
    assert versions == sorted(set(versions))
    assert len(versions) >= 2
    # the log says of every window which version its last batch drew from
    rows = read_metrics(open_location(f"{settings.checkpoints}/online"))
    for row in rows:
        first = [v["episodes"] for step, v in stopped.about["drawn"] if step < row["update"]]
        assert row["lake_version"] == first[-1]
    assert rows[-1]["online_episodes"] > rows[0]["online_episodes"]

    # goes on where it stopped, with what has arrived meanwhile
    with process(settings, *LEARN) as learner:
        until(lambda: newest(settings).about["update"] > stopped.about["update"], 90, learner)
    after = newest(settings)
    assert after.about["drawn"][: len(versions)] == stopped.about["drawn"]
    assert len(after.state["loader"]["online"]["log"]) >= len(versions)

    page = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
    question = page[page.index("**Staleness") :].split("```sql")[1].split("```")[0]
    (stale,) = ask(lake, question).to_pylist()
    assert stale["episodes"] == sum(map(len, acted(lake).values()))
    assert stale["updates_behind_max"] % 20 == 0


def newest(settings: Settings) -> Checkpoint:
    found = newest_checkpoint(settings.checkpoints, "online")
    assert found is not None
    return found


def _drawn_after(settings: Settings, by_policy: dict[str, set[str]], online: set[str]) -> bool:
    """Whether a checkpoint's draws include an episode that a policy of the learner's own drove."""
    checkpoint = newest_checkpoint(settings.checkpoints, "online")
    if checkpoint is None or not checkpoint.about["drawn"]:
        return False
    versions = checkpoint.about["drawn"][-1][1]
    rows = Lake.open(settings.lake).sql(
        "SELECT episode_id FROM episodes WHERE list_contains(?, policy_id)",
        [sorted(online)],
        versions=versions,
    )
    ids = set(rows.column("episode_id").to_pylist())
    return bool(ids & set().union(*(by_policy.get(p, set()) for p in online)))
