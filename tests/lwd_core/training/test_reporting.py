"""Trackers hear of a run, and none of them ever stops it.

The last tests use the real packages where they are installed (`pip install 'lwd[mlflow,wandb,trackio]'`).
"""

import json
import threading
import time
from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.settings import Settings
from lwd_core.training.reporting import Listener, RunFacts, listening, reporters
from lwd_core.training.run import Interrupted, train
from tests.lwd_core.training.test_run import Quiet, config
from tests.packages import Install

FACTS = RunFacts("clone", "f" * 64, 0, {"stage": "sft", "learner": {"kind": "lwd"}}, None)


class Heard:
    """Takes everything; ``fails`` says at which calls it raises."""

    def __init__(self, **fails: list[Exception | None]) -> None:
        self.calls: list[tuple] = []
        self.fails = {name: iter(errors) for name, errors in fails.items()}

    def begin(self, facts):
        self._take("begin", facts)

    def log(self, update, metrics):
        self._take("log", update, metrics)

    def end(self, how):
        self._take("end", how)

    def _take(self, name, *told):
        if error := next(self.fails.get(name, iter(())), None):
            raise error
        self.calls.append((name, *told))


def told(reporter, figures, how="finished", patience=5.0):
    listener = Listener("acme", reporter, FACTS)
    for update, metrics in figures:
        listener.log(update, metrics)
    listener.close(how, patience)
    return reporter.calls


FIGURES = [(2, {"loss": 1.0}), (4, {"loss": 0.5})]
ALL = [("begin", FACTS), ("log", *FIGURES[0]), ("log", *FIGURES[1]), ("end", "finished")]


def test_a_reporter_hears_all_in_order(capsys) -> None:
    assert told(Heard(), FIGURES) == ALL
    assert capsys.readouterr() == ("", "")


def test_an_outage_is_said_once_and_what_came_meanwhile_is_told_later(capsys) -> None:
    gone = ConnectionError("no route to\nhost")
    assert told(Heard(begin=[gone, gone], log=[gone]), FIGURES) == ALL
    said = capsys.readouterr().err.splitlines()
    assert said == ["reporter acme: ConnectionError: no route to host; tried again with the next figures"]


def test_figures_that_are_refused_cost_themselves(capsys) -> None:
    refused = ValueError("NaN")
    assert told(Heard(log=[refused] * 3), [*FIGURES, (6, {})]) == [ALL[0], ALL[2], ("log", 6, {}), ALL[3]]
    assert "reporter acme: 1 of 3 figures were not taken" in capsys.readouterr().err


def test_what_it_is_told_in_vain_is_not_told_again(capsys) -> None:
    assert told(Heard(begin=[UserError("name a project")]), FIGURES) == []
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "reporter acme: name a project"
    assert "2 of 2 figures were not taken" in said[1]


def test_nothing_secret_is_in_what_is_said(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a1b2c3d4e5f6")
    told(Heard(begin=[OSError("401 at https://me:pw@host for a1b2c3d4e5f6")] * 2), FIGURES[:1])
    said = capsys.readouterr().err
    assert "401 at https://***@host for ***" in said
    assert "a1b2c3" not in said


def test_one_that_hangs_keeps_nobody(capsys) -> None:
    release = threading.Event()

    class Hangs(Heard):
        def log(self, update, metrics):
            release.wait(20)

    began = time.monotonic()
    listener = Listener("acme", Hangs(), FACTS)
    for update in range(20_000):
        listener.log(update, {})
    listener.close("finished", 0.2)
    assert time.monotonic() - began < 5
    assert "no answer for 0.2 s" in capsys.readouterr().err
    release.set()


@pytest.mark.parametrize(
    ("error", "how"), [(None, "finished"), (Interrupted("x"), "stopped"), (MemoryError(), "failed")]
)
def test_how_a_run_ended_is_told(error, how) -> None:
    heard = Heard()
    try:
        with listening({"acme": heard}, FACTS, Interrupted) as [listener]:
            listener.log(*FIGURES[0])
            if error:
                raise error
    except (Interrupted, MemoryError):
        pass
    assert heard.calls[-1] == ("end", how)


def test_a_package_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwd_core.extras._there", lambda module: False)
    for name in ("mlflow", "wandb", "trackio"):
        with pytest.raises(UserError, match=rf"{name} is not installed; run `pip install 'lwd\[{name}\]'`"):
            reporters(name)


def test_a_name_that_is_none_says_which_are() -> None:
    with pytest.raises(UserError, match="no reporter of that name; did you mean wandb"):
        reporters("wandb_")
    assert reporters(" , ") == {}


SOURCE = """
import json, os
class Lines:
    def begin(self, facts):
        self.told = [["begin", facts.run, facts.update, facts.config["stage"], str(facts.folder)]]
    def log(self, update, metrics):
        self.told.append(["log", update, sorted(metrics)[:1]])
    def end(self, how):
        with open(os.environ["LINES"], "a") as file:
            file.write(json.dumps([*self.told, how]) + chr(10))
class Broken(Lines):
    def log(self, update, metrics):
        raise SystemExit("gone")
"""


def test_a_package_hears_of_a_run_that_was_stopped_and_goes_on(
    settings, snapshots, tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    install("acme", SOURCE, reporters={"lines": "acme:Lines", "broken": "acme:Broken"})
    monkeypatch.setenv("LINES", str(tmp_path / "lines"))
    settings = Settings(home=settings.home, snapshots=settings.snapshots, reporters="lines, broken")

    def stop() -> None:
        raise Interrupted("here")

    with pytest.raises(Interrupted):
        train(config(snapshots, "sft", checkpoint_every=2), Quiet({4: stop}), settings)
    result = train(config(snapshots, "sft", checkpoint_every=2), Quiet(), settings)
    assert result.metrics
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    first, second = [line for line in lines if len(line) > 2]
    folder = f"{settings.checkpoints}/sft"
    assert first[0] == ["begin", "sft", 0, "sft", folder]
    assert second[0] == ["begin", "sft", 2, "sft", folder]
    assert [line[1] for line in second[1:-1]] == [4, 6]
    assert (first[-1], second[-1]) == ("stopped", "finished")
    assert "reporter broken: SystemExit: gone" in capsys.readouterr().err


def real(package: str, figures=FIGURES, facts=FACTS) -> None:
    pytest.importorskip(package)
    with listening(reporters(package), facts, Interrupted, patience=120) as [listener]:
        for update, metrics in figures:
            listener.log(update, metrics)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_itself_has_one_run_of_two_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/runs")
    real("mlflow")
    real("mlflow", [(6, {"loss": 0.25})])
    assert "reporter" not in capsys.readouterr().err
    client = mlflow.MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("lwd").experiment_id])
    assert (run.info.run_name, run.info.status) == ("clone", "FINISHED")
    assert run.data.params == {"stage": "sft", "learner.kind": "lwd"}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(2, 1.0), (4, 0.5), (6, 0.25)]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_itself_whose_server_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter22@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    real("mlflow")
    said = capsys.readouterr().err
    assert "2 of 2 figures were not taken" in said
    assert "hunter22" not in said


@pytest.mark.filterwarnings("ignore")
def test_wandb_itself_keeps_what_it_cannot_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    real("wandb", facts=RunFacts("clone", "f" * 64, 0, {"stage": "sft"}, tmp_path))
    said = capsys.readouterr().err
    assert "No API key configured" in said
    assert "`wandb sync " in said
    [kept] = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"loss" in kept.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_trackio_itself_has_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio")
    real("trackio")
    assert capsys.readouterr().out == ""
    [kept] = tmp_path.glob("*.db")
    assert kept.stat().st_size
