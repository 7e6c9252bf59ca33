import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.actor import (
    deal,
    demonstration_seeds,
    landing_folder,
    opening_ns,
    run_fleet,
)
from lwd_core.fleet.config import FleetConfig, sample_fleet
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.sim.rendering import can_render
from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.supervisor import Supervisor, Unattended
from lwd_core.fleet.task import Job, Words
from lwd_core.fleet.workcells import Workcells
from lwd_core.policies.scenes import Purpose, scene_seeds, training_seeds
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source
from tests.lwd_core.fleet.conftest import Scripted
from tests.lwd_core.fleet.logs import Log

TASKS = ("drawer-open", "button-press-topdown")
DAY = "2026-02-03"
PERIOD_NS = 12_500_000


def small(cameras: int = 0) -> FleetConfig:
    return sample_fleet(TASKS, robots=3, cameras=cameras)


def test_a_supervised_episode_is_logged_as_the_contract_of_topics_says(
    settings: Settings, cells: Workcells, scripted: Scripted
) -> None:
    result = run_fleet(
        settings,
        small(),
        day=DAY,
        policy=scripted,
        seeds=training_seeds("log", 1),
        supervisor=Supervisor(rate=1, deadline=0.3),
        cells=cells,
    )
    assert len(result.delivered) == 2
    for delivered in result.delivered:
        ran, log = delivered.episode, Log(delivered.log.uri)
        assert log.profile == "lwd"
        assert log.compression == {"zstd"}
        assert log.metadata["lwd.robot"] == {
            "robot_id": ran.robot_id,
            "site": Path(delivered.log.uri).parts[-4],
            "embodiment": "sawyer",
            "software": "lwd-sim",
            "policy_id": "scripted",
        }
        steps, human = ran.steps, ran.human_steps
        assert 0 < human < steps
        assert log.counts["/state"] == steps + 1
        assert log.counts["/action/executed"] == log.counts["/actor"] == steps
        assert log.counts["/action/proposed"] == steps - human == 60
        controls = Counter((c.actor, c.policy_id, c.operator) for c in log.messages["/actor"])
        assert controls == {("policy", "scripted", ""): 60, ("human", "", "operator-1"): human}
        assert np.ptp(np.diff(log.times["/state"])) == 0
        assert log.times["/state"][1] - log.times["/state"][0] == PERIOD_NS
        assert log.times["/state"][0] == ran.start_ns
        assert [s.timestamp.ToNanoseconds() for s in log.messages["/state"]] == log.times["/state"]
        assert log.events == [
            "episode_start",
            "intervention_on",
            "intervention_off",
            "success" if ran.success else "failure",
            "episode_end",
        ]
        assert log.attributes("episode_start") == {
            "task": ran.task,
            "instruction": all_tasks()[ran.task].instruction,
            "source": "rollout",
            "seed": str(ran.seed),
            "limit": "200",
        }
        assert log.attributes("intervention_on")["reason"] == "time_running_out"
        assert log.attributes("episode_end") == {"end": "terminated"}


def test_executed_actions_replayed_in_the_scene_give_the_logged_states(
    settings: Settings, cells: Workcells, scripted: Scripted
) -> None:
    result = run_fleet(
        settings, small(), day=DAY, policy=scripted, seeds=training_seeds("replay", 1), cells=cells
    )
    delivered = result.delivered[0]
    log = Log(delivered.log.uri)
    with cells.borrow(all_tasks()[delivered.episode.task]) as cell:
        arm = cell.robot
        states = [arm.reset(delivered.episode.seed)]
        for action in log.messages["/action/executed"]:
            states.append(arm.step(np.array(action.values))[0])
    assert np.array_equal(states, [list(s.values) for s in log.messages["/state"]])


def test_the_same_call_gives_the_same_bytes_and_lands_nothing_new(
    settings: Settings, tmp_path: Path, cells: Workcells
) -> None:
    call = {"day": DAY, "seeds": training_seeds("twice", 2), "cells": cells}
    first = run_fleet(settings, small(), policy=Scripted(), **call)
    landed = sorted(p.name for p in Path(settings.landing).rglob("*.mcap"))
    again = run_fleet(settings, small(), policy=Scripted(), **call)
    assert [d.log for d in again.delivered] == [d.log for d in first.delivered]
    assert sorted(p.name for p in Path(settings.landing).rglob("*.mcap")) == landed
    elsewhere = run_fleet(Settings(home=str(tmp_path / "b")), small(), policy=Scripted(), **call)
    assert [d.log.sha256 for d in elsewhere.delivered] == [d.log.sha256 for d in first.delivered]
    for uri in first.logs:
        assert hashlib.sha256(Path(uri).read_bytes()).hexdigest() == Path(uri + ".sha256").read_text().strip()


def test_demonstrations_are_a_persons_and_succeed(settings: Settings, cells: Workcells) -> None:
    seeds = demonstration_seeds(TASKS, "demonstrations", 2, cells=cells)
    result = run_fleet(
        settings, small(), day=DAY, policy=None, seeds=seeds, source=Source.DEMONSTRATION, cells=cells
    )
    assert result.success == {"button-press-topdown": 1.0, "drawer-open": 1.0}
    assert result.human_share == 1.0
    log = Log(result.logs[0])
    assert "/action/proposed" not in log.counts
    assert log.attributes("intervention_on")["reason"] == "demonstration"
    assert log.metadata["lwd.robot"]["policy_id"] == ""


def test_play_wanders_where_a_demonstration_would_succeed(settings: Settings, cells: Workcells) -> None:
    seeds = demonstration_seeds(TASKS, "play", 3, cells=cells)
    result = run_fleet(settings, small(), day=DAY, policy=None, seeds=seeds, source=Source.PLAY, cells=cells)
    assert np.mean(list(result.success.values())) < 0.7
    assert Log(result.logs[0]).attributes("episode_start")["source"] == "play"


def test_a_robots_episodes_follow_one_another_on_its_own_clock(
    settings: Settings, cells: Workcells, scripted: Scripted
) -> None:
    late = RobotSpec("late", "north", clock_offset_ns=-9 * 3600 * 10**9)
    result = run_fleet(
        settings,
        FleetConfig((late,), TASKS),
        day=DAY,
        policy=scripted,
        seeds=training_seeds("clock", 1),
        supervisor=Unattended(),
        cells=cells,
    )
    first, second = (d.episode for d in result.delivered)
    assert second.start_ns - first.start_ns == first.steps * PERIOD_NS + 20 * 10**9
    # nine hours behind eight o'clock is the day before, for the stamps and for the folder
    assert Log(result.logs[0]).times["/state"][0] == opening_ns("2026-02-02") + 15 * 3600 * 10**9
    assert Path(result.logs[0]).parts[-3] == "2026-02-02"


@pytest.mark.skipif(not can_render(), reason="nothing to render with")
def test_robots_with_a_camera_log_frames_at_five_a_second(settings: Settings, cells: Workcells) -> None:
    seeds = demonstration_seeds(TASKS, "camera", 1, cells=cells)
    result = run_fleet(
        settings, small(1), day=DAY, policy=None, seeds=seeds, source=Source.DEMONSTRATION, cells=cells
    )
    frames = {d.episode.robot_id: Log(d.log.uri).counts["/camera/corner2"] for d in result.delivered}
    steps = {d.episode.robot_id: d.episode.steps for d in result.delivered}
    assert frames == {"arm-00": -(-steps["arm-00"] // 16), "arm-01": 0}


def test_wording_varies_with_the_scene_when_asked(settings: Settings, cells: Workcells) -> None:
    result = run_fleet(
        settings,
        sample_fleet(["drawer-open"], robots=1, cameras=0),
        day=DAY,
        policy=None,
        seeds=[0, 1, 2],
        source=Source.DEMONSTRATION,
        words=Words.TRAIN,
        cells=cells,
    )
    said = {Log(uri).attributes("episode_start")["instruction"] for uri in result.logs}
    assert said == set(all_tasks()["drawer-open"].instructions)


def test_jobs_are_dealt_evenly_and_tasks_go_round() -> None:
    tasks = list(all_tasks().values())
    jobs = [Job(t, t.instruction, seed, Source.ROLLOUT) for seed in range(16) for t in tasks]
    dealt = deal(jobs, sample_fleet(all_tasks(), robots=16).robots)
    assert {len(own) for _, own in dealt} == {len(jobs) // 16}
    assert all(len({job.task for job in own}) >= 4 for _, own in dealt)
    assert sorted((j.task.name, j.seed) for _, own in dealt for j in own) == sorted(
        (j.task.name, j.seed) for j in jobs
    )


def test_nothing_is_recorded_in_a_scene_kept_for_judging(settings: Settings, scripted: Scripted) -> None:
    with pytest.raises(ValueError, match="training range"):
        run_fleet(settings, small(), day=DAY, policy=scripted, seeds=scene_seeds(Purpose.EVALUATION, 1))


def test_wrong_fleets_and_days_are_refused_in_one_line() -> None:
    robot = RobotSpec("a", "north")
    with pytest.raises(UserError, match="no robots"):
        FleetConfig((), TASKS)
    with pytest.raises(UserError, match="share an id"):
        FleetConfig((robot, robot), TASKS)
    with pytest.raises(UserError, match="juggle: no such task"):
        FleetConfig((robot,), ("juggle",))
    with pytest.raises(UserError, match="2026-31-01"):
        opening_ns("2026-31-01")
    assert landing_folder(robot, Path("/a/20260203T235959999-push.mcap")) == "north/2026-02-03/a"


def test_a_landing_zone_that_cannot_be_written_is_named(settings: Settings, cells: Workcells) -> None:
    Path(settings.landing).write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"landing: logs can't be written there"):
        run_fleet(settings, small(), day=DAY, policy=None, seeds=[1], cells=cells)
    assert len(list(Path(settings.home, "spool").rglob("*.mcap"))) == 1
