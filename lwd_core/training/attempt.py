"""One attempt at a configuration: what earlier ones left under its name, and going on from there."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from lwd_core.interrupt import graceful_stop
from lwd_core.redact import without_secrets
from lwd_core.rl.compute.engine import Engine
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.lock import Lock, locked
from lwd_core.training import names
from lwd_core.training.checkpoint import Checkpoint, newest_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.factory import film_of, new_learner, require_same
from lwd_core.training.follow import follow
from lwd_core.training.loop import Interrupted, Loop, TrainResult
from lwd_core.training.reporters import Metrics, Reporter, Several, TensorBoard
from lwd_core.training.reporting import RunFacts, RunReporter, listening
from lwd_core.training.workers import Share


@dataclass(frozen=True)
class Attempt:
    """One call of `train`: ``wanted`` is the identity of its configuration, ``start`` what it begins from."""

    config: TrainConfig
    reporter: Reporter
    settings: Settings
    engine: Engine
    share: Share
    publish: Callable[[Checkpoint], None]
    start: Checkpoint | None
    wanted: str
    trackers: Mapping[str, RunReporter]

    def result(self) -> TrainResult:
        """The result of an earlier attempt that came to the end, or of this one."""
        done = self._finished()
        if done is None:
            with self._alone() as lock:
                done = self._go(lock)
        return done

    def _newest(self) -> Checkpoint | None:
        """Where an earlier attempt at this configuration left it, if it has the name."""
        checkpoints, run = self.settings.checkpoints, self.config.run
        return newest_checkpoint(checkpoints, run) if names.holds(checkpoints, run, self.wanted) else None

    def _finished(self) -> TrainResult | None:
        """The result of an attempt that came to the end, told once more."""
        newest = self._newest()
        if newest is None or newest.about["update"] != self.config.updates:
            return None
        if self.share.first:
            self.publish(newest)
        return TrainResult(newest.uri, newest.digest, newest.about["metrics"], before=True)

    @contextmanager
    def _alone(self) -> Generator[Lock | None]:
        """One trainer a name: the group's first worker holds it for all of them."""
        if not self.share.first:
            yield None
            return
        run = self.config.run
        what = f"run {run}: no two trainers under one name, give one of them another"
        with locked(open_location(self.settings.checkpoints), run, what) as lock:
            yield lock

    def _go(self, lock: Lock | None) -> TrainResult:
        """Train on. What was kept under another name comes back first, since it was found sound before."""
        config, settings, share, start = self.config, self.settings, self.share, self.start
        checkpoints, engine = settings.checkpoints, self.engine
        if share.first and names.holds(checkpoints, names.aside(config.run, self.wanted), self.wanted):
            names.take(checkpoints, config.run, self.wanted)
        share.meet()
        done = self._finished()
        if done is not None:
            return done
        newest = self._newest()
        torch.manual_seed(config.seed)  # pyright: ignore[reportUnknownMemberType]
        data = self._data()
        learner = new_learner(config, data, start, settings)
        if newest is not None:
            require_same(newest, learner.policy)
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
        about = {
            "identity": self.wanted,
            "config": config.to_dict(),
            "network": learner.policy.config.to_dict(),
            "embodiments": data.embodiments(),
            "init": start.digest if start else None,
        }
        run = open_location(f"{checkpoints}/{config.run}")
        with self._told(run, update) as told:
            loop = Loop(config, run, data, learner, generator, told, about, engine, share, self.publish, lock)
            with graceful_stop(loop.stop):
                return loop.go(update)

    def _data(self) -> Data:
        config, settings, share = self.config, self.settings, self.share
        digests = [config.offline, *([config.online] if config.online else [])]
        snapshots = [Snapshot.open(settings.snapshots, d) for d in digests]
        film = film_of(config, self.start, settings, snapshots)
        growing = None
        if config.follow is not None:
            cameras = film.vision.cameras if film else ()
            growing = follow(config, settings, snapshots[0], share, cameras=cameras)
        return Data(config, snapshots, share, growing, film=film)

    @contextmanager
    def _told(self, run: Location, update: int) -> Generator[Reporter]:
        """Who is told, from this update on: the run's own files, whoever asked, trackers."""
        if not self.share.first:
            yield Several([])
            return
        folder = None if run.remote else Path(run.path())
        sinks: list[Reporter] = [Metrics(run, update), self.reporter]
        if folder:
            sinks.append(TensorBoard(folder / "tensorboard", update))
        config = without_secrets(self.config.to_dict())
        facts = RunFacts(self.config.run, self.wanted, update, config, folder)
        with listening(self.trackers, facts, Interrupted) as listeners:
            yield Several([*sinks, *listeners])
