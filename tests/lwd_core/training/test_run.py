"""Runs of every stage on a small snapshot."""

import os
import shutil
import signal
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from lwd_core.errors import UserError
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import Checkpoint, read_checkpoint, steps
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.loop import blame
from lwd_core.training.reporters import read_metrics
from lwd_core.training.run import Interrupted, TrainResult, find_checkpoint, train
from lwd_core.training.workers import Share
from tests.lwd_core.training.conftest import GIVEN_BACK

SMALL = {
    "batch": 16,
    "updates": 6,
    "log_every": 2,
    "checkpoint_every": 100,
    "network": {"hidden": 16, "layers": 2, "instruction_features": 4, "steps": 4},
    "critic": {"hidden": 16, "layers": 2},
    "learner": {"extraction": {"kind": "qam", "steps": 4}, "reference": {"mode": "refreshed", "steps": 4}},
}


class Quiet:
    """Keeps what it is told; calls ``at[update]`` when an update is reported."""

    def __init__(self, at=None):
        self.rows, self.at = [], at or {}

    def log(self, update, metrics):
        self.rows.append((update, metrics))
        if update in self.at:
            self.at[update]()


def config(snapshots, stage, run=None, **changes) -> TrainConfig:
    _, offline, online = snapshots
    before = {"sft": None, "offline": "sft", "online": "offline"}[stage]
    value = {**SMALL, "run": run or stage, "stage": stage, "offline": offline, "init": before}
    if stage == "online":
        value["online"] = online
    return TrainConfig.parse({**value, **changes})


def tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    path = open_location(checkpoint.uri).path("state.safetensors")
    return load_file(path)


def state(result: TrainResult) -> dict[str, torch.Tensor]:
    return tensors(read_checkpoint(open_location(result.checkpoint)))


@pytest.fixture
def trained(settings, snapshots):
    return train(config(snapshots, "sft"), Quiet(), settings)


def test_every_stage_starts_from_the_one_before(settings, snapshots, trained):
    offline = train(config(snapshots, "offline"), Quiet(), settings)
    frozen = {**SMALL["learner"], "freeze_trunk": True}
    online = train(config(snapshots, "online", learner=frozen), Quiet(), settings)
    assert {"value_loss", "q_loss", "qam_loss", "tau", "entropy", "q_gain"} <= online.metrics.keys()
    assert 0 <= online.metrics["data_wait_share"] <= 1
    # The trunk stands still where that is asked for, the action expert does not.
    before, after = state(offline), state(online)
    name = "/learner/modules/policy/field."
    assert torch.equal(before[name + "context.weight"], after[name + "context.weight"])
    assert not torch.equal(before[name + "out.weight"], after[name + "out.weight"])
    assert [row["update"] for row in read_metrics(open_location(f"{settings.checkpoints}/online"))] == [
        2,
        4,
        6,
    ]
    assert os.listdir(open_location(settings.checkpoints).path("online", "tensorboard"))


@pytest.mark.parametrize("head_start", [0, 3])
def test_a_head_start_of_the_reference_begins_the_policy_anew(settings, snapshots, trained, head_start):
    before = state(train(config(snapshots, "offline"), Quiet(), settings))
    reference = {"mode": "refreshed", "steps": 4, "first": head_start}
    learner = {**SMALL["learner"], "reference": reference, "policy": {"rate": 0.0}}
    after = state(
        train(config(snapshots, "online", updates=head_start + 1, learner=learner), Quiet(), settings)
    )
    name = "/learner/modules/{}out.weight".format
    expected = after[name("reference/")] if head_start else before[name("policy/field.")]
    assert torch.equal(after[name("policy/field.")], expected)


def test_chunks_cut_short_by_a_takeover_are_told_apart(settings, snapshots):
    finished = TrainConfig.parse({**config(snapshots, "sft").to_dict(), "imitation": {"data": "finished"}})
    data = Data(finished, [Snapshot.open(settings.snapshots, finished.offline)], Share())
    normaliser = data.normaliser()
    episodes = data.snapshots[0].episodes
    seen = set()
    for (raw, batch), _ in zip(data.batches(normaliser), range(20), strict=False):
        for place, frame, human, kept in zip(
            raw["episode"], raw["frame"], raw["human"], batch.finished, strict=True
        ):
            member = episodes[int(place)]
            given_back = member.human_steps == len(GIVEN_BACK)
            policy_ended_it = member.human_steps == 0 or (given_back and int(frame) >= GIVEN_BACK.stop)
            expected = member.success and (bool(human) or policy_ended_it)
            assert bool(kept) == expected
            seen.add((bool(human), given_back, expected))
    assert {(False, False, False), (True, False, True)} <= seen, "taken over for good"
    assert {(False, True, False), (True, True, True), (False, True, True)} <= seen, "given back"


def test_a_batch_made_ahead_is_not_counted_before_it_is_given(settings, snapshots):
    sft = config(snapshots, "sft")

    def data() -> Data:
        return Data(sft, [Snapshot.open(settings.snapshots, sft.offline)], Share())

    first = data()
    whole = list(islice(first.batches(first.normaliser()), 40))
    assert first.state_dict()["step"] == 40
    for stop in (1, 16, 17):
        begun, resumed = data(), data()
        assert begun.state_dict()["step"] == 0
        for _ in islice(begun.batches(begun.normaliser()), stop):
            pass
        resumed.load_state_dict(begun.state_dict())
        _, after = next(resumed.batches(resumed.normaliser()))
        assert torch.equal(after.action, whole[stop][1].action)
        assert torch.equal(after.observation.state, whole[stop][1].observation.state)


def test_a_finished_run_is_left_alone(settings, snapshots, trained):
    reporter = Quiet()
    again = train(config(snapshots, "sft"), reporter, settings)
    assert again == trained
    assert not reporter.rows


def test_another_configuration_takes_the_place_and_moves_the_old_one_aside(settings, snapshots, trained):
    again = train(config(snapshots, "sft", seed=1), Quiet(), settings)
    assert again.digest != trained.digest
    assert steps(open_location(f"{settings.checkpoints}/sft")) == [6]
    (old,) = [name for name in os.listdir(settings.checkpoints) if name.startswith("sft-")]
    kept = find_checkpoint(settings.checkpoints, old)
    assert kept.digest == trained.digest
    assert old == f"sft-{kept.about['identity'][:8]}"
    assert [row["update"] for row in read_metrics(open_location(f"{settings.checkpoints}/{old}"))] == [
        2,
        4,
        6,
    ]


def test_configurations_that_take_turns_under_one_name_each_keep_what_they_learned(settings, snapshots):
    first, second = config(snapshots, "sft"), config(snapshots, "sft", seed=1)
    ends = [train(c, Quiet(), settings) for c in (first, second)]
    for _ in range(2):
        for c, end in ((first, ends[0]), (second, ends[1])):
            reporter = Quiet()
            assert train(c, reporter, settings) == end
            assert not reporter.rows, "a finished run is not trained again"
    assert find_checkpoint(settings.checkpoints, "sft").digest == ends[1].digest


def test_of_two_attempts_at_one_configuration_the_further_stays(settings, snapshots, trained):
    wanted = find_checkpoint(settings.checkpoints, "sft").about["identity"]
    shutil.copytree(f"{settings.checkpoints}/sft", f"{settings.checkpoints}/kept")
    train(config(snapshots, "sft", seed=1), Quiet(), settings)

    def crash():
        raise RuntimeError("power")

    # the same configuration begun anew under its name, and dead before its end
    os.rename(f"{settings.checkpoints}/sft-{wanted[:8]}", f"{settings.checkpoints}/away")
    with pytest.raises(RuntimeError, match="power"):
        train(config(snapshots, "sft", checkpoint_every=3), Quiet({4: crash}), settings)
    os.rename(f"{settings.checkpoints}/away", f"{settings.checkpoints}/sft-{wanted[:8]}")
    assert train(config(snapshots, "sft"), Quiet(), settings) == trained
    for name in os.listdir(settings.checkpoints):
        if not name.startswith("."):
            assert find_checkpoint(settings.checkpoints, name)


def test_a_wrong_configuration_leaves_the_name_where_it_was(settings, snapshots, trained):
    with pytest.raises(UserError, match="no snapshot"):
        train(config(snapshots, "sft", offline="0" * 64), Quiet(), settings)
    assert find_checkpoint(settings.checkpoints, "sft").digest == trained.digest


def test_somebody_else_s_run_is_not_taken_for_one_set_aside(settings, snapshots, trained):
    wanted = find_checkpoint(settings.checkpoints, "sft").about["identity"]
    train(config(snapshots, "sft", run=f"sft-{wanted[:8]}", seed=2), Quiet(), settings)
    with pytest.raises(UserError, match=r"run sft: can't be set aside, .* holds another run; rename"):
        train(config(snapshots, "sft", seed=1), Quiet(), settings)
    assert find_checkpoint(settings.checkpoints, "sft").digest == trained.digest


def test_two_trainers_of_one_name_do_not_meet(settings, snapshots):
    said = []

    def another(seed):
        def begin():
            with pytest.raises(UserError, match=r"run sft: no two trainers.*process \d+ on ") as error:
                train(config(snapshots, "sft", seed=seed), Quiet(), settings)
            said.append(str(error.value))

        return begin

    train(config(snapshots, "sft"), Quiet({2: another(0), 4: another(1)}), settings)
    assert len(said) == 2
    assert "\n" not in "".join(said)


def test_a_checkpoint_s_address_is_kept_below_its_root(settings, snapshots, trained, tmp_path):
    begun = config(snapshots, "offline", init=trained.checkpoint)
    first = train(begun, Quiet(), settings)
    kept = find_checkpoint(settings.checkpoints, "offline")
    assert kept.about["config"]["init"] == "sft/step-6"
    home = shutil.copytree(settings.home, tmp_path / "copy")
    moved = Settings(home=str(home))
    for init in ("sft/step-6", trained.checkpoint, f"{moved.checkpoints}/sft/step-6"):
        again = train(config(snapshots, "offline", init=init), Quiet(), moved)
        assert (again.digest, again.checkpoint.startswith(str(home))) == (first.digest, True)


@pytest.mark.parametrize("stage", ["sft", "offline", "online"])
def test_resume_is_bit_exact(settings, snapshots, trained, stage):
    if stage == "online":
        train(config(snapshots, "offline"), Quiet(), settings)
    whole = train(config(snapshots, stage, run="whole"), Quiet(), settings)

    def crash():
        raise RuntimeError("power")

    # A run that dies after its checkpoint at 3 and one that is asked to stop at 2 end in the same bits.
    cut = config(snapshots, stage, run="cut", checkpoint_every=3)
    with pytest.raises(RuntimeError, match="power"):
        train(cut, Quiet({4: crash}), settings)
    resumed = train(cut, Quiet(), settings)
    stop = config(snapshots, stage, run="stop")
    with pytest.raises(Interrupted, match="update 2"):
        train(stop, Quiet({2: lambda: os.kill(os.getpid(), signal.SIGTERM)}), settings)
    stopped = train(stop, Quiet(), settings)
    for other in (resumed, stopped):
        for name, tensor in state(whole).items():
            assert torch.equal(tensor, state(other)[name]), name
    assert [row["update"] for row in read_metrics(open_location(f"{settings.checkpoints}/cut"))] == [2, 4, 6]


def test_a_loss_that_is_not_finite_stops_with_its_batch(settings, snapshots, trained):
    learner = {"extraction": {"steps": 4, "temperature": 1e-300}}
    with pytest.raises(UserError, match=r"offline, update 0: policy.*nonfinite-0-0.safetensors") as error:
        train(config(snapshots, "offline", learner=learner), Quiet(), settings)
    path = str(error.value).split("saved as ")[1].split(";")[0]
    assert load_file(path)["state"].shape == (16, 3)
    named = str(error.value).split("its batch is of episode ")[1].split(";")[0]
    known = {m.episode_id for m in Snapshot.open(settings.snapshots, snapshots[1]).episodes}
    assert set(named.split(", ")) <= known


def test_episodes_that_are_not_numbers_are_named():
    raw = {name: torch.zeros(4, 2) for name in ("state", "next_state", "action")}
    raw |= {name: torch.zeros(4) for name in ("reward", "discount")}
    raw["action"][1, 0], raw["state"][1, 1], raw["reward"][3] = torch.nan, torch.inf, torch.nan
    assert blame(raw, ["a", "b", "a", "d"]) == (
        "not finite in the batch: episode b (action, state), d (reward); build the snapshot without them"
    )


def test_wrong_input_is_one_line(settings, snapshots, trained):
    with pytest.raises(UserError, match="no checkpoint"):
        train(config(snapshots, "offline", init="nobody"), Quiet(), settings)
    with pytest.raises(UserError, match="no snapshot"):
        train(config(snapshots, "sft", offline="0" * 64), Quiet(), settings)
    with pytest.raises(UserError, match=r"takes \(state, action, chunk\)"):
        train(config(snapshots, "offline", chunk=2), Quiet(), settings)


def test_a_damaged_checkpoint_is_refused(settings, snapshots, trained):
    path = open_location(trained.checkpoint).path("state.safetensors")
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    with pytest.raises(UserError, match="do not match"):
        find_checkpoint(settings.checkpoints, "sft")


def test_only_the_newest_checkpoints_stay(settings, snapshots):
    train(config(snapshots, "sft", run="many", checkpoint_every=1, keep=2), Quiet(), settings)
    assert steps(open_location(f"{settings.checkpoints}/many")) == [5, 6]
