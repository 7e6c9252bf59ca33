"""The canary is judged without anybody asking: sensor, then job, from the lake's episodes alone."""

import json
import time
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from lwd_core.policies.channel_file import Release, current
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.policies.release import publish
from pipelines.definitions import defs
from pipelines.home import enter
from pipelines.platform import Platform
from pipelines.sensors import canary_sensor
from storage_schemas.tables import EPISODES
from storage_schemas.vocabulary import Channel
from tests.lwd_core.labels.conftest import episode_rows


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name in ("LWD_HOME", "DAGSTER_HOME", "DAGSTER_STATE_DIR", "LWD_PROFILE"):
        monkeypatch.setenv(name, "")  # so that what `enter` sets is taken back
    enter(str(tmp_path), "tiny")
    return Platform()


def put(platform: Platform, channel: Channel, policy_id: str) -> Release:
    settings = platform.settings
    return publish(
        platform.lake(), settings.releases, channel, policy_id=policy_id,
        key=signing_key(settings.keys), evidence={}, now_ns=1,
    )  # fmt: skip


def work(platform: Platform, policy_id: str, successes: int, episodes: int) -> None:
    """Episodes that robots did with a policy."""
    rows = episode_rows(episodes).to_pylist()
    for i, row in enumerate(rows):
        row |= {"episode_id": f"{policy_id}-{episodes}-{i}", "policy_id": policy_id}
        row["outcome"] = "success" if i < successes else "failure"
    platform.lake().append("episodes", pa.Table.from_pylist(rows, schema=EPISODES.schema))


def asked() -> dg.RunRequest | dg.SkipReason:
    (answer,) = canary_sensor(dg.build_sensor_context(resources={"platform": Platform()}))
    return answer


def settle() -> None:
    with dg.DagsterInstance.get() as instance:
        assert defs.resolve_job_def("canary_verdict").execute_in_process(instance=instance).success


def holds(platform: Platform, channel: Channel) -> str:
    release = current(platform.settings.releases, channel, trusted_keys(platform.settings.keys))
    assert release is not None
    return release.policy_id


def test_a_bad_canary_is_taken_back_even_if_it_is_the_first(platform: Platform) -> None:
    put(platform, Channel.PRODUCTION, "good")
    work(platform, "good", 36, 40)
    bad = put(platform, Channel.CANARY, "bad")
    assert bad.parent is None
    work(platform, "bad", 0, 4)
    assert isinstance(asked(), dg.SkipReason)
    settle()
    assert holds(platform, Channel.CANARY) == "bad"
    work(platform, "bad", 0, 8)
    request = asked()
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == f"{bad.release_id}-roll_back"
    settle()
    assert (holds(platform, Channel.CANARY), holds(platform, Channel.PRODUCTION)) == ("good", "good")
    rows = platform.lake().read("releases", where="state = 'rolled_back'").to_pylist()
    assert [row["policy_id"] for row in rows] == ["bad"]
    assert json.loads(rows[0]["evidence"])["decision"] == "roll_back"
    assert isinstance(asked(), dg.SkipReason)


def test_a_good_canary_goes_into_production(platform: Platform) -> None:
    put(platform, Channel.PRODUCTION, "good")
    work(platform, "good", 36, 40)
    put(platform, Channel.CANARY, "better")
    work(platform, "better", 60, 60)
    assert isinstance(asked(), dg.RunRequest)
    settle()
    assert holds(platform, Channel.PRODUCTION) == "better"


def renew() -> None:
    with dg.DagsterInstance.get() as instance:
        assert defs.resolve_job_def("channel_renewal").execute_in_process(instance=instance).success


def test_the_night_signs_channels_anew(platform: Platform) -> None:
    renew()  # nothing released, no key
    assert not Path(platform.settings.keys).exists()
    first = put(platform, Channel.PRODUCTION, "good")
    renew()
    again = current(platform.settings.releases, Channel.PRODUCTION, trusted_keys(platform.settings.keys))
    assert again is not None
    assert (again.release_id, again.number > first.number) == (first.release_id, True)
    assert again.expires_ns is not None
    assert again.expires_ns > time.time_ns() + 29 * 86_400 * 10**9
