"""The platform's own reporters: MLflow, Weights & Biases and trackio, each through its own package.

Where they report to and as whom is what their packages' own variables say (``MLFLOW_TRACKING_URI``,
``WANDB_API_KEY``, ``TRACKIO_SPACE_ID``, …). A run that goes on is one run there too.
"""

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any, cast

from lwd_core.extras import require
from lwd_core.redact import redacted
from lwd_core.training.reporting import End, RunFacts

PROJECT = "lwd"
_TAG = "lwd.identity"


class MlflowReporter:
    """A run of the experiment ``MLFLOW_EXPERIMENT_NAME``, by default ``lwd``; parameters, metrics, tags."""

    def __init__(self) -> None:
        require("mlflow")

    def begin(self, facts: RunFacts) -> None:
        mlflow: Any = import_module("mlflow")
        self._entities: Any = import_module("mlflow.entities")
        self._client: Any = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        same = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{facts.identity}'", max_results=1)
        if same:
            self._run: str = same[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        tags = {_TAG: facts.identity, "lwd.stage": str(facts.config.get("stage", ""))}
        self._run = self._client.create_run(experiment, tags=tags, run_name=facts.run).info.run_id
        made = [self._entities.Param(k, str(v)[:6000]) for k, v in flat(facts.config).items()]
        self._client.log_batch(self._run, params=made)

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        now = time.time_ns() // 1_000_000
        made = [self._entities.Metric(name, float(value), now, update) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=made)

    def end(self, how: End) -> None:
        states = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, states[how])


class WandbReporter:
    """A run of the project ``WANDB_PROJECT``, by default ``lwd``. Neither code, console nor machine is sent.

    Where W&B can't be reached, or no key is set, the figures lie in the run's folder for ``wandb sync``.
    """

    def __init__(self) -> None:
        require("wandb")

    def begin(self, facts: RunFacts) -> None:
        wandb: Any = import_module("wandb")
        asked = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "name": facts.run,
            "id": f"{facts.run}-{facts.identity[:8]}",
            "config": dict(facts.config),
            "dir": str(facts.folder) if facts.folder else None,
            "settings": wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                finish_timeout=10,
                init_timeout=15,
                silent=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        }
        try:
            self._run: Any = wandb.init(resume="allow", **asked)
        except Exception as error:
            wandb.teardown()
            self._run = wandb.init(mode="offline", **asked)
            line = " ".join(redacted(str(error)).split())
            kept = self._run.settings.sync_dir
            print(f"reporter wandb: {line}; kept offline, `wandb sync {kept}` sends it", file=sys.stderr)
        # its own count must never fall, and a resumed run's does
        self._run.define_metric("*", step_metric="update")

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        self._run.log({**metrics, "update": update})

    def end(self, how: End) -> None:
        self._run.finish(exit_code=0 if how == "finished" else 1)


class TrackioReporter:
    """A run of the project ``TRACKIO_PROJECT``, by default ``lwd``; kept here unless a Space is named."""

    def __init__(self) -> None:
        require("trackio")

    def begin(self, facts: RunFacts) -> None:
        trackio: Any = import_module("trackio")
        # it greets, and stdout is a command's answer; other threads print there meanwhile
        parts: list[Any] = [import_module(f"trackio.{part}") for part in ("run", "utils")]
        for module in (trackio, *parts):
            module.print = partial(print, file=sys.stderr)
        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{facts.run}-{facts.identity[:8]}",
            config=dict(facts.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=update)

    def end(self, how: End) -> None:
        self._run.finish()


def flat(config: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """A nested configuration as dotted names: ``learner.divl.tau_base``."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(cast(Mapping[str, Any], value), f"{head}{name}.")
        else:
            found[f"{head}{name}"] = value
    return found
