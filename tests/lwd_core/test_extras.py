"""A base install is a lake and a robot; what lacks an extra says which, in one line."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from lwd_core.extras import EXTRAS, MissingExtra, missing_extra, require
from lwd_core.plugins import Door
from tests.lwd_core.logs.robot_logs import episode_log

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
Lwd = Callable[..., subprocess.CompletedProcess[str]]

#: Stands on the path as ``sitecustomize``: whatever an extra brings can't be imported, by children neither.
REFUSE = f"""\
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(EXTRAS)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""

ROBOT = """\
import json, sys
from pathlib import Path
from lwd_core.fleet import channel  # what robots follow it by
from lwd_core.fleet.recorder import Recorder
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.spool import claimed
from lwd_core.fleet.upload import land
from lwd_core.policies.keys import rotate, signing_key, trusted_keys
from lwd_core.policies.channel_file import Release, current, refused, write_release
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Actor, Channel

settings, robot = Settings(), RobotSpec("r7", "lab", embodiment="arm")
with claimed(settings, [robot]) as spool:
    log = spool / "r7" / "1.mcap"
    with Recorder(log, robot, "p1") as record:
        record.event(10, "episode_start", {"task": "stack"})
        record.state(11, [0.5, 1.0, 2.0])
        record.control(12, Actor.POLICY, "p1", "")
        record.executed(12, [0.25, -0.25])
        record.event(13, "episode_end", {"end": "terminated"})
    landed = land(log, settings.landing, "lab/2026-01-01/r7")
rotate(settings.keys)
release = Release("rel1", "production", "p1", None, 5, number=1)
write_release(settings.releases, release, signing_key(settings.keys))
held = current(settings.releases, Channel.PRODUCTION, trusted_keys(settings.keys))
assert held == release
print(json.dumps({
    "landed": Path(landed.uri).is_file(),
    "left": [p.name for p in spool.rglob("*.mcap")],
    "policy": held.policy_id,
    "refused": refused(held, None, 6),
}))
"""


@pytest.fixture(scope="module")
def lwd(tmp_path_factory: pytest.TempPathFactory) -> Lwd:
    """Runs ``lwd`` (or Python) in a folder with a log, where no extra is installed."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text(REFUSE)
    (folder / "run-1.mcap").write_bytes(episode_log(60, facts={"embodiment": "arm"}, camera_every=0))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LWD_", "DAGSTER_"))} | {
        "PYTHONPATH": os.pathsep.join([str(folder / "path"), *sys.path[1:]]),
        "LWD_HOME": "lake",
        "COLUMNS": "200",
    }

    def run(*arguments: str, program: tuple[str, ...] = ("-m", "lwd_core.cli.main"), code: int = 0):
        done = subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout[-500:]}{done.stderr[-2000:]}"
        return done

    run("init", "lake", "--name", "arm", "--log", "run-1.mcap")
    assert json.loads(run("ingest", "run-1.mcap", "--json").stdout)
    return run


def test_a_lake_needs_no_extra(lwd: Lwd) -> None:
    assert "ingest" in lwd("--help").stdout
    rows = json.loads(lwd("sql", "--format", "json", "SELECT robot_id, steps FROM episodes").stdout)
    assert [(row["robot_id"], row["steps"]) for row in rows] == [("r1", 60)]
    (listed,) = json.loads(lwd("episode", "list", "--json").stdout)
    episode = listed["episode_id"]
    assert json.loads(lwd("episode", "show", episode, "--json").stdout)["facts"]["steps"] == 60
    assert "run-1.mcap" in lwd("logs").stdout
    lwd("logs", "reconcile")
    lwd("embodiment", "list")
    lwd("lake", "stats")
    lwd("impact", episode)
    exported = json.loads(lwd("export", "lerobot", "set", "--json").stdout)
    assert exported["episodes"] == 1
    assert "wrong" not in lwd("doctor").stdout


def test_labels_and_snapshots_need_no_extra(lwd: Lwd) -> None:
    runs = json.loads(lwd("label", "run", "--json").stdout)
    assert {run["layer_id"]: run["episodes"] for run in runs}["reward.sparse@1"] == 1
    labels = lwd("sql", "--format", "csv", "SELECT count(DISTINCT layer_id) AS n FROM labels").stdout
    assert labels.split() == ["n", str(len(runs))]


def test_a_robot_records_uploads_and_follows_a_channel_without_an_extra(lwd: Lwd) -> None:
    said = json.loads(lwd(ROBOT, program=("-c",)).stdout)
    assert said == {"landed": True, "left": [], "policy": "p1", "refused": None}


def test_driving_a_robot_loads_nothing_of_the_lake(lwd: Lwd) -> None:
    code = (
        "import sys, lwd_core.cli.robot, lwd_core.fleet.station, lwd_core.fleet.channel; print(*sys.modules)"
    )
    loaded = {name.partition(".")[0] for name in lwd(code, program=("-c",)).stdout.split()}
    assert {"numpy", "mcap", "cryptography"} <= loaded
    assert loaded & {"pyarrow", "scipy", "deltalake", "duckdb", "av", "h5py", "rosbags", "jinja2"} == set()


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("train", "run.yaml"), "train"),
        (("episode", "show", "", "--page", "page.html"), "reports"),
        (("episode", "view", ""), "view"),
        (("serve",), "serve"),
        (("studio",), "studio"),
        (("fleet", "demonstrate"), "sim"),
        (("fleet", "run"), "train"),
        (("fleet", "page"), "reports"),
        (("demo",), "platform,reports,sim,train"),
        (("ui",), "platform"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_lacks_an_extra_says_which(lwd: Lwd, command: tuple[str, ...], extra: str) -> None:
    said = lwd(*command, code=2).stderr.strip().splitlines()
    assert len(said) == 1, said
    assert f"run `pip install 'lwd[{extra}]'`" in said[0]


def test_a_bucket_without_its_extra(lwd: Lwd) -> None:
    said = lwd("ingest", "s3://bucket/log.mcap", code=2).stderr.strip().splitlines()
    assert len(said) == 1, said
    assert "pip install 'lwd[s3]'" in said[0]


def test_every_module_of_an_extra_is_brought_by_it() -> None:
    """The table of extras and pyproject.toml say the same."""
    extras = PROJECT["optional-dependencies"]

    def brought(extra: str) -> set[str]:
        found = set()
        for requirement in extras[extra]:
            inner = re.fullmatch(r"lwd\[(.+)\]", requirement)
            name = re.match(r"[\w.-]+", requirement)
            assert name
            found |= set().union(*map(brought, inner[1].split(","))) if inner else {_plain(name[0])}
        return found

    modules = importlib.metadata.packages_distributions()
    base = {_plain(re.match(r"[\w.-]+", text)[0]) for text in PROJECT["dependencies"]}  # type: ignore[index]
    others = {"botocore"}  # of s3fs
    chosen = {"mlflow", "trackio", "wandb"}  # one team uses one of them: neither `all` nor `dev` has any
    for module, extra in EXTRAS.items():
        if module in others or (extra in chosen and module not in modules):
            continue
        assert {_plain(name) for name in modules[module]} & brought(extra), f"{extra} brings no {module}"
        assert not {_plain(name) for name in modules[module]} & base, module
    users = set(extras) - {"all", "dev", "docs"} - chosen
    assert extras["all"] == [f"lwd[{','.join(sorted(users))}]"]


def test_a_plug_in_that_lacks_an_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "no_such_module", "view")
    door = Door[object]("lwd.test", {"mine": "no_such_module:x"})
    with pytest.raises(
        MissingExtra, match=r"no_such_module is not installed; run `pip install 'lwd\[view\]'`"
    ):
        door.get("mine")


def test_what_no_extra_brings_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_extra(ModuleNotFoundError("x", name="lwd_core.errors")) is None
    assert (
        missing_extra(ModuleNotFoundError("x", name="torch")) is None
    )  # it is there: something else is amiss
    require("torch", "dagster")
    monkeypatch.setitem(EXTRAS, "no_such_module", "sim")
    with pytest.raises(MissingExtra, match="sim"):
        require("torch", "no_such_module")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
