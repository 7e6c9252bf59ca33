"""lwd ingest --follow: takes in what lands later, and outlives a disk or line that fails for a while."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli import ingest as command
from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.fleet.recorder import Recorder
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.upload import land
from lwd_core.fleet.workcells import Workcells
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Actor


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    settings = Settings()
    Workcells().install(settings.embodiments)
    return settings


def upload(settings: Settings) -> None:
    log = Path(settings.home, "20260203T080000000-push.mcap")
    with Recorder(log, RobotSpec("arm-00", "north", "sawyer"), "p") as recorder:
        recorder.event(0, "episode_start", {"task": "push", "instruction": "push", "source": "online"})
        for tick in range(20):
            recorder.state(tick * 12_500_000, [float(tick)] * 39)
            recorder.control(tick * 12_500_000, Actor.POLICY, "p", "")
            recorder.executed(tick * 12_500_000, [0.0] * 4)
        recorder.event(250_000_000, "success", {})
        recorder.event(250_000_000, "episode_end", {"end": "terminated"})
    land(log, settings.landing, "north/2026-02-03/arm-00")


class Stopped(Exception):
    """Instead of waiting for ever."""


def test_it_goes_on_with_what_lands(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, take_in = [], command.take_in

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            upload(settings)
        if len(looks) == 3:
            raise Stopped

    def flaky(*arguments, **more):
        if len(looks) == 1:
            raise OSError("no space left on device")
        return take_in(*arguments, **more)

    monkeypatch.setattr(command.time, "sleep", sleep)
    monkeypatch.setattr(command, "take_in", flaky)
    done = CliRunner().invoke(app, ["ingest", "--follow", "--every", "7"])
    assert isinstance(done.exception, Stopped)
    assert looks == [7, 7, 7]
    assert "no space left on device" in done.output
    assert "trying again" in done.output
    assert Lake.open(settings.lake).read("episodes").num_rows == 1


def test_what_time_does_not_mend_ends_it(settings: Settings) -> None:
    Path(settings.embodiments, "sawyer.yaml").unlink()
    upload(settings)
    with pytest.raises(UserError, match="no embodiment file"):
        CliRunner().invoke(app, ["ingest", "--follow"], catch_exceptions=False)
