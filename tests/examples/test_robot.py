"""A robot of another package, from its first demonstration to rows, as a user would; run and judged."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lwd_core import plugins
from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded
from lwd_core.fleet.config import sample_fleet
from lwd_core.fleet.evaluate import evaluate
from lwd_core.fleet.live import Deployment, run_live
from lwd_core.fleet.supervisor import Supervisor
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.scenes import Purpose, scene_seeds
from lwd_core.settings import Settings
from tests.examples.installed import lwd
from tests.packages import PLUGINS, lay_project


def test_demonstrations_of_a_robot_of_another_package_come_into_an_empty_home(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "robot", tmp_path / "site"), tmp_path / "home"
    assert "go to the goal" in lwd(home, site, "fleet", "tasks", "--robot", "point")
    said = lwd(home, site, "fleet", "demonstrate", "--robot", "point", "--per-task", "3", "--robots", "2")
    assert said.startswith("3 logs")
    lwd(home, site, "ingest")
    query = "SELECT embodiment, task, outcome, count(*), min(human_steps / steps) FROM episodes GROUP BY ALL"
    assert lwd(home, site, "sql", "--format", "csv", query).split()[-1] == "point-arm,reach,success,3,1.0"


def test_an_address_names_a_robot_that_has_no_entry_point(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "robot", tmp_path / "site"), tmp_path / "home"
    (site / "point_arm-1.0.dist-info" / "entry_points.txt").unlink()
    assert "no robot of that name" in lwd(home, site, "fleet", "tasks", "--robot", "point", fails=True)
    said = lwd(home, site, "fleet", "demonstrate", "--robot", "point_arm:PointArms", "--per-task", "1")
    assert said.startswith("1 logs")


@pytest.fixture
def point_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(lay_project(PLUGINS / "robot", tmp_path / "site")))
    plugins._others.cache_clear()
    yield
    plugins._others.cache_clear()
    sys.modules.pop("point_arm", None)


class Half:
    """Goes half as fast as the person would; also where robots get their policy from."""

    policy_id = "half"
    cameras = ()

    def act(
        self,
        states: np.ndarray,
        instructions: list[str],
        generator: np.random.Generator,
        frames=None,
        embodiment: str = "",
    ) -> np.ndarray:
        assert states.shape == (len(instructions), 4)
        return np.clip((states[:, None, 2:] - states[:, None, :2]) / 0.2, -0.5, 0.5)

    def newest(self, channel: str, now_ns: int) -> Loaded:
        return Loaded(self, "r1", 0, now_ns)


@pytest.mark.usefixtures("point_arm")
def test_it_is_judged_in_its_own_scenes() -> None:
    seeds = scene_seeds(Purpose.SELECTION, 5)
    rows = evaluate(Half(), ["reach"], seeds, now_ns=1, robot="point")
    assert rows["success"].to_pylist() == [True] * 5
    assert rows["task"].to_pylist() == ["reach"] * 5


@pytest.mark.usefixtures("point_arm")
def test_it_runs_on_its_channel_a_person_beside_it(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"))
    fleet = sample_fleet(["reach"], robots=2, robot="point")
    assert {(r.embodiment, r.software) for r in fleet.robots} == {("point-arm", "point-arm 1.0")}
    work = Deployment("run", episodes=4, speed=0, play=0.3, supervisor=Supervisor(rate=1, overdue=1))
    done = run_live(settings, fleet, work, Half(), now=iter(range(10**18, 2 * 10**18, 10**12)).__next__)
    assert len(done) == 8
    lake = Lake.open(settings.lake, create=True)
    known = load_embodiments(settings.embodiments)
    ingest(lake, settings, [settings.landing], embodiments=known, now_ns=1)
    found = lake.sql(
        "SELECT source, outcome, count(*) AS n FROM episodes GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    assert sum(row["n"] for row in found) == 8
    assert {row["source"] for row in found} == {"online", "play"}
    helped = lake.sql("SELECT sum(interventions) AS n FROM episodes WHERE source = 'online'").to_pylist()
    assert helped[0]["n"] > 0


def test_a_file_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "sawyer.yaml").write_text("mine")
    Workcells().install(str(tmp_path))
    assert (tmp_path / "sawyer.yaml").read_text() == "mine"


@pytest.mark.usefixtures("point_arm")
def test_a_robot_at_another_rate_than_its_file_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Workcells("point")
    monkeypatch.setattr("point_arm.PointArm.control_hz", 50.0)
    with (
        pytest.raises(UserError, match="robot point: it runs at 50 Hz, .* says control_hz: 20"),
        cells.borrow(cells.tasks["reach"]),
    ):
        pass
