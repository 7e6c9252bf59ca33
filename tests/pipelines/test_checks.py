"""The checks of a day's data: what the store lost is a failed check with its reason, never a traceback."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.lake.upkeep import compact
from pipelines.checks import SPECS, lake_checks
from pipelines.home import enter
from pipelines.platform import Platform
from storage_schemas.vocabulary import Source
from tests.lwd_core.scripted import Scripted, land_scripted

DAY, SITE = "2025-03-05", "harbour"
NOON_NS = 1_741_176_000 * 10**9


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A home with one episode of a day."""
    for name in ("LWD_HOME", "DAGSTER_HOME", "DAGSTER_STATE_DIR", "LWD_PROFILE"):
        monkeypatch.setenv(name, "")  # so that what `enter` sets is taken back
    enter(str(tmp_path), "tiny")
    platform = Platform()
    settings = platform.settings
    Workcells().install(settings.embodiments)
    script = Scripted("push", Source.ROLLOUT, 0, policy_id="p")
    land_scripted(settings.landing, RobotSpec(f"{SITE}-00", SITE), DAY, NOON_NS, script)
    ingest(platform.lake(), settings, [settings.landing], embodiments=platform.embodiments(), now_ns=NOON_NS)
    return platform


def checked(platform: Platform) -> dict[tuple[str, str], dg.AssetCheckResult]:
    """Every check's answer, by asset and name."""
    run = SimpleNamespace(start_time=None)
    context: Any = SimpleNamespace(
        partition_keys=[f"{DAY}|{SITE}"],
        instance=SimpleNamespace(get_run_record_by_id=lambda _id: run),
        run=SimpleNamespace(run_id="r"),
        log=logging.getLogger("checks"),
    )
    decorated: Any = lake_checks.op.compute_fn
    results = list(decorated.decorated_fn(context, platform))
    found = {(r.asset_key.to_user_string(), str(r.check_name)): r for r in results}
    assert len(results) == len(found) == len(SPECS), "each is answered once"
    return found


def files(lake: Lake, table: str) -> list[Path]:
    return [Path(name) for name in lake.files(table)]


def test_a_sound_day_passes(platform: Platform) -> None:
    assert all(result.passed for result in checked(platform).values())
    compact(platform.lake())
    assert all(result.passed for result in checked(platform).values())


def unlink(lake: Lake) -> None:
    files(lake, "steps")[0].unlink()


def cut(lake: Lake) -> None:
    path = files(lake, "episodes")[0]
    path.write_bytes(path.read_bytes()[:-20])


def lose_an_entry(lake: Lake) -> None:
    Path(lake.root, "tables/logs/_delta_log/00000000000000000000.json").unlink()


@pytest.mark.parametrize(
    ("harm", "table", "said"),
    [
        (unlink, "steps", "is missing"),
        (cut, "episodes", "its log says"),
        (lose_an_entry, "logs", "lacks 000"),
    ],
)
def test_a_broken_file_is_named_and_whatever_can_t_be_checked_has_failed(
    platform: Platform, harm: Callable[[Lake], None], table: str, said: str
) -> None:
    harm(platform.lake())
    found = checked(platform)
    result = found[table, "files"]
    assert not result.passed
    assert said in str(result.metadata["faults"])
    assert found["segments", "files"].passed
    failed = [r for r in found.values() if "error" in r.metadata]
    assert failed
    assert not any(r.passed for r in failed)
    assert all("\n" not in str(r.metadata["error"].value) for r in failed)
