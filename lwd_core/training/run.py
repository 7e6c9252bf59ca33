"""One training run: any stage, resumable at any moment, to a finished checkpoint."""

import copy
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.rl.batch import Batch, Noise
from lwd_core.rl.compute.engine import Engine
from lwd_core.rl.compute.parallel import mean
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.imitation import ImitationLearner
from lwd_core.rl.learner import Learner
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.optim import NonFinite
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.progress import Progress
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.lock import Lock, locked
from lwd_core.storage.relative import relative, resolve, stored
from lwd_core.training import names
from lwd_core.training.checkpoint import (
    MANIFEST,
    Checkpoint,
    like,
    newest_checkpoint,
    prune,
    read_checkpoint,
    write_checkpoint,
)
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data, Film
from lwd_core.training.follow import follow
from lwd_core.training.reporters import Metrics, Reporter, Several, TensorBoard
from lwd_core.training.workers import Share, join_workers
from storage_schemas.vocabulary import Stage

_DIAGNOSIS = 0x5EED  # stream of the numbers drawn to look, not to learn


class Interrupted(Exception):
    """The run was asked to stop; its state is in a checkpoint."""


class Trained(Protocol):
    """What a stage's learner gives the run."""

    policy: FlowPolicy

    def update(self, batch: Batch, noise: Noise, progress: Progress) -> dict[str, Tensor]: ...
    def diagnose(self, batch: Batch, noise: Noise) -> dict[str, Tensor]: ...
    def modules(self) -> dict[str, nn.Module]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class TrainResult:
    """``checkpoint`` is its address, ``metrics`` the last ones logged."""

    checkpoint: str
    digest: str
    metrics: dict[str, float]


def train(
    config: TrainConfig,
    reporter: Reporter,
    settings: Settings | None = None,
    *,
    publish: Callable[[Checkpoint], None] = lambda _: None,
) -> TrainResult:
    """Run to the end, from where an earlier attempt left it; a finished run is returned as it is.

    ``publish`` is told every ``checkpoint_every``-th update's checkpoint and the last, a resumed run's again.
    Raises UserError for wrong input and for a loss that is not finite, Interrupted after SIGTERM.
    """
    torch.set_num_threads(config.threads)
    engine = Engine.of(config.device, config.bf16, config.compile)
    with join_workers(engine.device) as share:
        return _train(config, reporter, settings or Settings(), engine, share, publish)


def _train(
    config: TrainConfig,
    reporter: Reporter,
    settings: Settings,
    engine: Engine,
    share: Share,
    publish: Callable[[Checkpoint], None],
) -> TrainResult:
    checkpoints = settings.checkpoints
    start = find_checkpoint(checkpoints, config.init) if config.init else None
    if start is not None and "/" in (config.init or ""):
        config = replace(config, init=stored(checkpoints, start.uri))
    wanted = names.identity(config.to_dict(), start.digest if start else None)
    attempt = _Attempt(config, reporter, settings, engine, share, publish, start, wanted)
    done = attempt.finished()
    if done is None:
        with _alone(checkpoints, config.run, share) as lock:
            done = attempt.go(lock)
    return done


@contextmanager
def _alone(checkpoints: str, run: str, share: Share) -> Iterator[Lock | None]:
    """One trainer a name: the group's first worker holds it for all of them."""
    if not share.first:
        yield None
        return
    what = f"run {run}: no two trainers under one name, give one of them another"
    with locked(open_location(checkpoints), run, what) as lock:
        yield lock


@dataclass(frozen=True)
class _Attempt:
    """One call of `train`: ``wanted`` is the identity of its configuration, ``start`` what it begins from."""

    config: TrainConfig
    reporter: Reporter
    settings: Settings
    engine: Engine
    share: Share
    publish: Callable[[Checkpoint], None]
    start: Checkpoint | None
    wanted: str

    def newest(self) -> Checkpoint | None:
        """Where an earlier attempt at this configuration left it, if it has the name."""
        checkpoints, run = self.settings.checkpoints, self.config.run
        return newest_checkpoint(checkpoints, run) if names.holds(checkpoints, run, self.wanted) else None

    def finished(self) -> TrainResult | None:
        """The result of an attempt that came to the end, told once more."""
        newest = self.newest()
        if newest is None or newest.about["update"] != self.config.updates:
            return None
        if self.share.first:
            self.publish(newest)
        return TrainResult(newest.uri, newest.digest, newest.about["metrics"])

    def go(self, lock: Lock | None) -> TrainResult:
        """Train on. What was kept under another name comes back first, since it was found sound before."""
        config, settings, share, start = self.config, self.settings, self.share, self.start
        checkpoints, engine = settings.checkpoints, self.engine
        if share.first and names.holds(checkpoints, names.aside(config.run, self.wanted), self.wanted):
            names.take(checkpoints, config.run, self.wanted)
        share.meet()
        done = self.finished()
        if done is not None:
            return done
        newest = self.newest()
        torch.manual_seed(config.seed)
        digests = [config.offline, *([config.online] if config.online else [])]
        snapshots = [Snapshot.open(settings.snapshots, d) for d in digests]
        growing = follow(config, settings, snapshots[0], share) if config.follow is not None else None
        data = Data(config, snapshots, share, growing, film=film_of(config, start, settings))
        learner = _learner(config, data, start)
        for module in learner.modules().values():
            module.to(engine.device)
        generator = torch.Generator().manual_seed(config.seed)
        update = 0
        share.meet()
        if share.first:
            names.take(checkpoints, config.run, self.wanted)
        if newest is not None:
            update = newest.about["update"]
            learner.load_state_dict(newest.state["learner"])
            data.load_state_dict(newest.state["loader"])
            generator.set_state(newest.state["noise"])
            if update % config.checkpoint_every == 0 and share.first:
                self.publish(newest)
        run = open_location(f"{checkpoints}/{config.run}")
        sinks: list[Reporter] = [Metrics(run, update), self.reporter] if share.first else []
        if share.first and not run.remote:
            sinks.append(TensorBoard(Path(run.path("tensorboard")), update))
        about = {
            "identity": self.wanted,
            "config": config.to_dict(),
            "network": learner.policy.config.to_dict(),
            "embodiments": data.embodiments(),
            "init": start.digest if start else None,
        }
        loop = _Loop(
            config, run, data, learner, generator, Several(sinks), about, engine, share, self.publish, lock
        )
        with _stop_on_sigterm(loop.stop):
            return loop.go(update)


def find_checkpoint(checkpoints: str, init: str) -> Checkpoint:
    """A checkpoint by run name (its newest) or by address, in full or below ``checkpoints``.

    UserError if there is none.
    """
    if "/" in init:
        inside = (
            relative(init) and ".." not in init and open_location(resolve(checkpoints, init)).exists(MANIFEST)
        )
        return read_checkpoint(open_location(resolve(checkpoints, init) if inside else init))
    newest = newest_checkpoint(checkpoints, init)
    if newest is None:
        near = like(checkpoints, init)
        meant = f", did you mean {near}?" if near else "; train it first"
        raise UserError(f"run {init!r}: no checkpoint in {checkpoints}{meant}")
    return newest


class _Loop:
    def __init__(
        self,
        config: TrainConfig,
        run: Location,
        data: Data,
        learner: Trained,
        generator: torch.Generator,
        reporter: Reporter,
        about: dict[str, Any],
        engine: Engine,
        share: Share,
        publish: Callable[[Checkpoint], None],
        lock: Lock | None,
    ):
        self.engine, self.publish, self.lock = engine, publish, lock
        self.config, self.run, self.data, self.learner = config, run, data, learner
        self.generator, self.reporter, self.about, self.share = generator, reporter, about, share
        self.stop = threading.Event()

    def go(self, update: int) -> TrainResult:
        config = self.config
        noise = Noise(self.generator)
        device = self.engine.device
        # Batches are made where their data is, then moved.
        normaliser = copy.deepcopy(self.learner.policy.normaliser).cpu()
        batches = self.data.batches(normaliser)
        held_out = self.data.held_out(normaliser)
        window = _Window()
        metrics: dict[str, float] = {}
        while update < config.updates:
            with window.waiting():
                raw, batch = next(batches)
                batch = batch.to(device)
            try:
                with self.engine.running():
                    info = self.learner.update(batch, noise, Progress(update, config.updates))
                window.add(info)
            except NonFinite as error:
                raise UserError(self._nonfinite(error, update, raw)) from error
            update += 1
            if update % config.log_every == 0 or update == config.updates:
                look = Noise(torch.Generator().manual_seed(_DIAGNOSIS + update))
                seen = self.learner.diagnose(batch, look)
                if held_out is not None:
                    unseen = self.learner.diagnose(held_out.to(device), look)
                    seen |= {f"heldout_{name}": value for name, value in unseen.items()}
                metrics = window.close(seen) | self.data.figures(raw)
                self.reporter.log(update, metrics)
            if self.share.agree(self.stop.is_set()) and update < config.updates:
                checkpoint = self._checkpoint(update, metrics)
                raise Interrupted(f"run {config.run}: stopped at update {update}; state in {checkpoint.uri}")
            if update % config.checkpoint_every == 0 and update < config.updates:
                self._publish(self._checkpoint(update, metrics))
        checkpoint = self._checkpoint(update, metrics)
        self._publish(checkpoint)
        return TrainResult(checkpoint.uri, checkpoint.digest, metrics)

    def _publish(self, checkpoint: Checkpoint) -> None:
        if self.share.first:
            self.publish(checkpoint)

    def _checkpoint(self, update: int, metrics: dict[str, float]) -> Checkpoint:
        state = {
            "learner": self.learner.state_dict(),
            "loader": self.data.state_dict(),
            "noise": self.generator.get_state(),
            "embeddings": self.data.embeddings,
        }
        about = {
            **self.about,
            "instructions": self.data.instructions,
            "drawn": self.data.drawn,
            "update": update,
            "metrics": metrics,
        }
        if self.lock is not None:
            self.lock.check()
            write_checkpoint(self.run, update, about, state)
            prune(self.run, self.config.keep)
        self.share.meet()
        return read_checkpoint(open_location(self.run.path(f"step-{update}")))

    def _nonfinite(self, error: NonFinite, update: int, raw: Mapping[str, Tensor]) -> str:
        name = f"nonfinite-{update}-{self.share.rank}.safetensors"
        episodes = self.data.episodes_of(raw)
        with self.run.write(name) as file:
            columns = {column: tensor.contiguous() for column, tensor in raw.items()}
            file.write(save(columns, {"episodes": json.dumps(episodes)}))
        return (
            f"run {self.config.run}, update {update}: {error}; {_blame(raw, episodes)}; "
            f"batch saved as {self.run.path(name)}"
        )


def _blame(raw: Mapping[str, Tensor], episodes: Sequence[str]) -> str:
    """The episodes of a batch whose numbers are not finite; else all of them, and what else may help."""
    faults: dict[str, set[str]] = {}
    for column in ("state", "next_state", "action", "reward", "discount"):
        values = raw[column]
        finite = values.isfinite().reshape(len(values), -1).all(1).tolist()
        for episode, good in zip(episodes, finite, strict=True):
            if not good:
                faults.setdefault(episode, set()).add(column)
    if faults:
        named = [f"{episode} ({', '.join(sorted(columns))})" for episode, columns in faults.items()]
        return f"not finite in the batch: episode {_some(named)}; build the snapshot without them"
    return (
        f"its batch is of episode {_some(dict.fromkeys(episodes))}; lower the rate or raise the temperature"
    )


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


class _Window:
    """Means of scalars between two calls of the reporter, with the time they took."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._updates = 0
        self._waited = 0.0
        self._begin = time.perf_counter()

    @contextmanager
    def waiting(self):
        """Time spent in here is waiting for data."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def add(self, info: Mapping[str, Tensor]) -> None:
        self._updates += 1
        for name, value in info.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def close(self, more: Mapping[str, Tensor]) -> dict[str, float]:
        """Means since the last call; ``more`` as it is. Not-a-number is left out."""
        seconds = time.perf_counter() - self._begin
        means = {name: float(mean(total)) / self._counts[name] for name, total in self._sums.items()}
        means |= {name: float(value) for name, value in more.items()}
        means |= {"updates_per_s": self._updates / seconds, "data_wait_share": self._waited / seconds}
        self.__init__()
        return {name: value for name, value in means.items() if math.isfinite(value)}


def _learner(config: TrainConfig, data: Data, start: Checkpoint | None) -> Trained:
    if start is None:
        snapshot = data.snapshots[0].manifest
        net = config.network
        encoder = EncoderConfig(
            snapshot.state_width, instruction_features=net.instruction_features, vision=net.vision
        )
        field = FieldConfig(encoder, snapshot.action_width, data.chunk, net.hidden, net.layers)
        policy = FlowPolicy(PolicyConfig(field, net.steps), data.normaliser())
    else:
        policy = policy_of(start)
        _fits(config, policy, data)
    if config.stage is Stage.SFT:
        return ImitationLearner(config.imitation, policy)
    learner = Learner(config.learner, policy, config.critic)
    if start is not None and "critic" in start.state["learner"]["modules"]:
        learner.load_state_dict(start.state["learner"])
        learner.begin_stage()
    return learner


def film_of(config: TrainConfig, start: Checkpoint | None, settings: Settings) -> Film | None:
    """The frames a run's networks take: as configured, or as the policy it starts from does."""
    if start is None:
        vision = config.network.vision
    else:
        vision = PolicyConfig.from_dict(start.about["network"]).field.encoder.vision
    return vision and Film(vision, open_location(settings.lake))


def policy_of(checkpoint: Checkpoint) -> FlowPolicy:
    """The policy a checkpoint holds."""
    policy = FlowPolicy(PolicyConfig.from_dict(checkpoint.about["network"]))
    policy.load_state_dict(checkpoint.state["learner"]["modules"]["policy"])
    return policy


def _fits(config: TrainConfig, policy: FlowPolicy, data: Data) -> None:
    field, manifest = policy.config.field, data.snapshots[0].manifest
    have = (field.encoder.state_dim, field.action_dim, field.chunk)
    need = (manifest.state_width, manifest.action_width, data.chunk)
    if have != need:
        raise UserError(
            f"run {config.run}: init {config.init} takes (state, action, chunk) of {have}, "
            f"the snapshot gives {need}"
        )


@contextmanager
def _stop_on_sigterm(stop: threading.Event):
    """SIGTERM sets the event; only the main thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
