"""The same lake on object stores: a mock, a real one, and one that must be refused."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from s3fs import S3FileSystem

from lwd_core.erasure.search import search
from lwd_core.errors import StorageError, UserError
from lwd_core.lake.frames import read_frame
from lwd_core.lake.person_query import ask
from lwd_core.lake.store import Lake
from lwd_core.lake.upkeep import compact, vacuum
from tests.lwd_core.lake import servers
from tests.lwd_core.lake.cutter import Cutter, cutter
from tests.lwd_core.lake.fake_logs import picture, write_log
from tests.lwd_core.lake.world import World

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in servers.KEYS.items():
        monkeypatch.setenv(name, value)
    yield
    S3FileSystem.clear_instance_cache()
    fsspec.config.conf.pop("s3", None)


@pytest.fixture(params=["moto", "seaweedfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "server"
    folder.mkdir()
    with servers.moto() if request.param == "moto" else servers.seaweedfs(folder) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("LWD_S3_ENDPOINT", url)
        yield url


def upload(world: World, folder: Path) -> None:
    for path in folder.rglob("*.json"):
        with world.landing_place.write(str(path.relative_to(folder))) as stream:
            stream.write(path.read_bytes())


def test_the_whole_way_on_a_bucket(store: str, tmp_path: Path) -> None:
    world = World("s3://lake/home")
    for i in range(4):
        write_log(tmp_path / "logs", f"log{i}", seed=i, episodes=2, frames=3, site=f"lab{i % 2}")
    bad = write_log(tmp_path / "logs", "bad")
    bad.write_bytes(b"\x00")
    upload(world, tmp_path / "logs")
    result = world.ingest(batch_logs=2)
    assert (result.accepted.files, result.quarantined.files, result.episodes) == (4, 1, 8)
    before, versions = world.tables(), world.lake.versions()
    assert world.ingest().known.files == 5
    assert world.lake.versions() == versions
    rows = world.lake.read("steps", columns=["frames"], where="frames IS NOT NULL").to_pylist()
    frames = {read_frame(world.lake.place, row["frames"][0]) for row in rows}
    assert frames == {picture(100 * seed + k, step) for seed in range(4) for k in (0, 1) for step in range(3)}
    steps = ask(world.lake, "SELECT count(*) n FROM steps", str(world.lake.version("episodes")))
    assert steps.to_pylist() == [{"n": 96}]
    assert sum(read for read, _ in compact(world.lake).values()) > 0
    assert vacuum(world.lake, grace_hours=-1)
    assert world.tables() == before
    with pytest.raises(UserError):
        ask(world.lake, "SELECT * FROM read_csv('/etc/passwd')")
    episode = before["episodes"][0]["episode_id"]
    what = world.plan(episode)
    world.erase(what)
    assert search([world.settings.home], what.sought, raw=[world.settings.landing]).holding == []
    (kept,) = what.raw
    assert world.landing_place.fs.exists(kept.path), "another episode is in it"
    assert len(world.tables()["episodes"]) == 7
    world.erase(world.plan(*what.siblings))
    assert not world.landing_place.fs.exists(kept.path)


def test_two_writers_on_a_bucket(store: str, tmp_path: Path) -> None:
    world = World("s3://lake/home")
    for i in range(8):
        write_log(tmp_path / "logs", f"log{i}", seed=i // 2)
    upload(world, tmp_path / "logs")
    command = [sys.executable, "-m", "tests.lwd_core.lake.victim", "s3://lake/home", "ingest"]
    both = [subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "ready\ndone\n"), "a process that touched S3 ends well"
    tables = World("s3://lake/home").tables()
    states = [row["state"] for row in tables["logs"]]
    assert (states.count("accepted"), states.count("duplicate")) == (4, 4)
    assert (len(tables["episodes"]), len(tables["steps"])) == (4, 48)


COMMIT = "PUT /lake/home/lake/tables/episodes/_delta_log/"


@pytest.fixture
def line(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cutter]:
    """A line to the store that can be cut; one log waits in the landing zone behind it."""
    with cutter(store) as (proxy, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("LWD_S3_ENDPOINT", url)
        write_log(tmp_path / "logs", "log", frames=3)
        upload(World("s3://lake/home"), tmp_path / "logs")
        yield proxy


def counts() -> list[int]:
    """Rows of logs, episodes and steps, as somebody new to the lake sees them."""
    tables = World("s3://lake/home").tables()
    return [len(tables[name]) for name in ("logs", "episodes", "steps")]


@pytest.mark.parametrize("answer_only", [False, True])
def test_a_commit_whose_connection_drops_once_lands_once(line: Cutter, answer_only: bool) -> None:
    line.cut(COMMIT, answer_only=answer_only, times=1)
    World("s3://lake/home").ingest()
    assert line.cuts == 1
    assert counts() == [1, 1, 12]


def test_a_commit_whose_connection_stays_away_leaves_the_old_state(line: Cutter) -> None:
    line.cut(COMMIT, answer_only=False, times=1000)
    with pytest.raises(StorageError, match="episodes: version 1 can't be written .* do the same again"):
        World("s3://lake/home").ingest()
    line.cut("", answer_only=False, times=0)
    assert counts() == [0, 0, 0]
    World("s3://lake/home").ingest()
    assert counts() == [1, 1, 12]


def test_a_store_without_conditional_put_is_refused(tmp_path: Path) -> None:
    with servers.rclone(tmp_path) as url, pytest.raises(UserError, match="no conditional put"):
        Lake.open("s3://lake/home", create=True, endpoint=url)


def test_a_bucket_that_is_not_there_is_named() -> None:
    with servers.moto() as url, pytest.raises(UserError, match="nothere"):
        Lake.open("s3://nothere/lake", create=True, endpoint=url)


RUNS = int(os.environ.get("LWD_EXIT_RUNS", "2"))


def test_no_process_that_touched_s3_dies_at_its_end(store: str, tmp_path: Path) -> None:
    world = World("s3://lake/home")
    write_log(tmp_path / "logs", "log", frames=3)
    upload(world, tmp_path / "logs")
    world.ingest()
    script = (
        "from lwd_core.lake.store import Lake\n"
        "lake = Lake.open('s3://lake/home/lake')\n"
        "assert lake.read('steps').num_rows == 12\n"
        "lake.connect().sql('SELECT count(*) FROM steps').fetchall()\n"
    )
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
