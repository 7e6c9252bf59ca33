"""The profile for storage elsewhere, for real: SeaweedFS holds every place, PostgreSQL Dagster's state."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import fsspec
import pytest
from sqlalchemy import create_engine, text

from lwd_core.settings import PLACES
from lwd_core.storage.location import open_location
from pipelines.home import enter
from storage_schemas.vocabulary import Channel, Source
from tests.e2e.test_week import MON, TASK, Week
from tests.lwd_core.lake.servers import KEYS, seaweedfs
from tests.lwd_core.scripted import Scripted
from tests.pipelines.postgres import postgres

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore:.*run_id.*:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both services, and the environment a server would have."""
    (tmp_path / "weed").mkdir()
    with seaweedfs(tmp_path / "weed") as s3, postgres() as url:
        for name in ("LWD_HOME", "DAGSTER_HOME", "DAGSTER_STATE_DIR", "LWD_PROFILE"):
            monkeypatch.setenv(name, "")  # so that what `enter` sets is taken back
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LWD_S3_ENDPOINT", s3)
        monkeypatch.setenv("LWD_POSTGRES_URL", url)
        monkeypatch.setenv("LWD_CONFIG", str(ROOT / "deploy" / "s3-postgres" / "lwd.toml"))
        monkeypatch.setenv("LWD_DAGSTER", str(ROOT / "deploy" / "s3-postgres"))
        fsspec.filesystem("s3", endpoint_url=s3).mkdir("lwd")
        yield url


def test_a_round_of_the_loop_over_a_bucket_and_a_database(tmp_path: Path, database: str) -> None:
    home = enter(str(tmp_path / "home"), str(Path(__file__).with_name("week.yaml")))
    with dg.DagsterInstance.get() as instance:
        week = Week(home, instance)
        week.work(MON, Scripted(TASK, Source.DEMONSTRATION, 0), 3)
        week.tick()
        week.begin("sft")
        released = week.on(Channel.PRODUCTION)
        runs = {run.job_name: run.status for run in instance.get_runs()}
    assert runs == dict.fromkeys(("ingest_day", "learning_round"), dg.DagsterRunStatus.SUCCESS)
    settings = week.platform.settings
    assert open_location(settings.policies).exists(released.policy_id, "manifest.json")
    assert settings.policies == "s3://lwd/policies"
    in_bucket = [name for name in PLACES if getattr(settings, name).startswith("s3://lwd/")]
    assert set(in_bucket) == set(PLACES) - {"embodiments"}  # which stays on the server
    assert not [path for path in home.rglob("*") if path.suffix in {".parquet", ".tar", ".mcap"}]
    engine = create_engine(database)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM runs")).scalar_one() == 2
    engine.dispose()
    assert not list((home / "dagster").rglob("*.db"))
