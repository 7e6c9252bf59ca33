"""Robots that are enrolled: whose logs are taken in, what they are told, what they say."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.upload import Uplink, land
from lwd_core.ingest.commit import ingest
from lwd_core.ingest.pending import waiting
from lwd_core.lake.store import Lake
from lwd_core.policies.keys import (
    distrust,
    make_robot_key,
    public_pem,
    robot_key,
    rotate,
    signing_key,
    trusted_keys,
)
from lwd_core.robots.bucket_policy import bucket_policy
from lwd_core.robots.desired import desire, read_desired
from lwd_core.robots.enrolment import Enrolment, enrol, enrolled, folder_of, require_own_key, revoke
from lwd_core.robots.heartbeat import Heartbeat, beat, read_heartbeat
from lwd_core.robots.standing import SILENT_S, standings
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel
from tests.lwd_core.logs.robot_logs import ARM, episode_log

NOW = 1_790_000_000 * 10**9


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=str(tmp_path / "home"))
    rotate(settings.keys)
    return settings


def joined(settings: Settings, robot_id: str, site: str = "lab", group: str = "") -> Enrolment:
    public = public_pem(make_robot_key(settings.keys, robot_id)).decode()
    return enrol(settings, Enrolment(robot_id, site, group, public, NOW), signing_key(settings.keys))


def sent(settings: Settings, tmp_path: Path, robot: str, seed: int, *, site: str = "lab", uplink=None) -> str:
    log = tmp_path / f"run-{seed}.mcap"
    log.write_bytes(episode_log(40, seed=seed))
    own = uplink or Uplink.of(settings, RobotSpec(robot, site))
    return land(log, settings.landing, f"{site}/2026-02-03/{robot}", uplink=own).sha256


def taken(settings: Settings) -> dict[str, str]:
    """State and reason of every log, by digest."""
    lake = Lake.open(settings.lake, create=True)
    ingest(lake, settings, [settings.landing], embodiments={"arm": ARM}, now_ns=NOW)
    rows = lake.read("logs", columns=["log_id", "state", "reason"]).to_pylist()
    return {row["log_id"]: f"{row['state']}: {row['reason'] or ''}" for row in rows}


def test_an_enrolled_robots_folder_takes_only_what_it_signed(settings: Settings, tmp_path: Path) -> None:
    joined(settings, "arm-1")
    joined(settings, "arm-2")
    other = Uplink.of(settings, RobotSpec("arm-2", "lab")).vouch
    signed = sent(settings, tmp_path, "arm-1", 1)
    bare = sent(settings, tmp_path, "arm-1", 2, uplink=Uplink())
    forged = sent(settings, tmp_path, "arm-1", 3, uplink=Uplink(other))
    garbage = sent(settings, tmp_path, "arm-1", 4, uplink=Uplink(lambda _: "x y"))
    moved = sent(settings, tmp_path, "arm-1", 5, site="elsewhere")
    stranger = sent(settings, tmp_path, "arm-9", 6)
    found = taken(settings)
    assert found[signed] == "accepted: "
    assert found[stranger] == "accepted: ", "who is not enrolled is not asked"
    assert "did not sign it" in found[bare]
    assert "is not trusted here" in found[forged]
    assert "is not trusted here" in found[garbage]
    assert "enrolled at lab, not at elsewhere" in found[moved]
    assert all(found[log].startswith("quarantined") for log in (bare, forged, garbage, moved))


def test_enrolled_only_shuts_strangers_out_and_a_revoked_robot_too(
    settings: Settings, tmp_path: Path
) -> None:
    joined(settings, "arm-1")
    before = sent(settings, tmp_path, "arm-1", 1)
    assert taken(settings)[before] == "accepted: "
    revoke(settings, "arm-1", signing_key(settings.keys), NOW)
    after, stranger = sent(settings, tmp_path, "arm-1", 2), sent(settings, tmp_path, "arm-9", 3)
    strict = settings.model_copy(update={"enrolled_only": True})
    found = taken(strict)
    assert found[before] == "accepted: "
    assert "was revoked on 2026-09-21" in found[after]
    assert "arm-9 is not enrolled" in found[stranger]
    with pytest.raises(UserError, match=r"robot arm-11: not enrolled; did you mean arm-1\?"):
        revoke(settings, "arm-11", signing_key(settings.keys), NOW)


def test_logs_that_landed_before_their_robot_was_enrolled_are_taken_once_it_is(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = settings.model_copy(update={"enrolled_only": True})
    monkeypatch.setenv("LWD_HOME", settings.home)
    make_robot_key(settings.keys, "arm-1")  # it signs already, and nobody knows its key
    early, bare = sent(settings, tmp_path, "arm-1", 1), sent(settings, tmp_path, "arm-1", 2, uplink=Uplink())
    stranger = sent(settings, tmp_path, "arm-9", 3)
    assert all("is not enrolled" in why for why in taken(strict).values())
    lake = Lake.open(settings.lake)
    assert waiting(lake, strict) == {}
    said = CliRunner().invoke(app, ["robot", "enrol", "arm-1", "--site", "lab"]).stdout
    assert "1 logs of it that were refused before will be taken in by the next `lwd ingest`" in said
    (uri,) = waiting(lake, strict)["2026-02-03", "lab"]
    assert f"run-1-{early[:8]}" in uri
    result = ingest(lake, strict, [strict.landing], embodiments={"arm": ARM}, now_ns=NOW)
    assert (result.let_in, result.accepted.files, result.quarantined.files) == (1, 1, 0)
    found = taken(strict)
    assert found[early] == "accepted: "
    assert all("is not enrolled" in found[log] for log in (bare, stranger)), "not read again"
    assert waiting(lake, strict) == {}
    revoke(settings, "arm-1", signing_key(settings.keys), NOW)
    late = sent(settings, tmp_path, "arm-1", 4)
    assert "was revoked" in taken(strict)[late]
    joined(settings, "arm-1")
    assert taken(strict)[late] == "accepted: "


def test_a_file_that_somebody_changed_is_not_believed(settings: Settings, tmp_path: Path) -> None:
    robot = joined(settings, "arm-1")
    path = Path(folder_of(settings, "arm-1").root) / "enrolment.json"
    record = json.loads(path.read_bytes())
    record["enrolment"]["site"] = "elsewhere"
    path.write_text(json.dumps(record))
    assert "does not fit the bytes" in str(enrolled(settings)["arm-1"])
    log = sent(settings, tmp_path, "arm-1", 1)
    assert "does not fit the bytes" in taken(settings)[log], (
        "shut, not open, where the file can't be believed"
    )
    enrol(settings, robot, signing_key(settings.keys))
    assert enrolled(settings)["arm-1"] == robot


def test_where_a_log_lies_is_no_way_around(settings: Settings, tmp_path: Path) -> None:
    joined(settings, "r1")
    folder = Path(settings.landing) / "lab" / "2026-02-03"
    folder.mkdir(parents=True)
    (folder / "bare.mcap").write_bytes(episode_log(40, seed=1))
    (reason,) = taken(settings).values()
    assert "says it is of robot r1, which is enrolled" in reason
    strict = settings.model_copy(update={"enrolled_only": True, "lake": f"{settings.home}/other"})
    (reason,) = taken(strict).values()
    assert "names no robot" in reason


def test_a_robot_that_says_nonsense_takes_nobody_with_it(settings: Settings) -> None:
    one, two = joined(settings, "arm-1"), joined(settings, "arm-2")
    now = time.time_ns()
    for robot, sent in ((one, now), (two, 10**400)):
        key = robot_key(settings.keys, robot.robot_id)
        assert key is not None
        beat(settings, Heartbeat(robot.robot_id, sent), key)
    first, second = standings(settings, {}, now)
    assert (first.state, second.state) == ("online", "unsound")


def test_each_robot_has_a_key_of_its_own(settings: Settings) -> None:
    joined(settings, "arm-1")
    own = robot_key(settings.keys, "arm-1")
    assert own is not None
    assert make_robot_key(settings.keys, "arm-1").private_bytes_raw() == own.private_bytes_raw()
    assert make_robot_key(settings.keys, "arm-1", anew=True).private_bytes_raw() != own.private_bytes_raw()
    assert (Path(settings.keys) / "robots" / "arm-1.pem").stat().st_mode & 0o777 == 0o600
    again = public_pem(own).decode()
    with pytest.raises(UserError, match="is arm-1's; make it one of its own"):
        require_own_key(settings, Enrolment("arm-2", "lab", "", again, NOW))
    for name in ("../arm", "a/b", "..", "", "*", "a" * 81):
        with pytest.raises(UserError, match="no name for one"):
            folder_of(settings, name)
        with pytest.raises(UserError, match="^site .* no name for one"):
            joined(settings, "arm-1", site=name)


def test_what_is_wanted_grows_and_keeps_what_was_not_said(settings: Settings) -> None:
    joined(settings, "arm-1")
    key, trusted = signing_key(settings.keys), trusted_keys(settings.keys)
    first = desire(settings, "arm-1", key, NOW, channel=Channel.CANARY)
    second = desire(settings, "arm-1", key, NOW, paused=True, why="cleaning")
    assert second.number > first.number
    assert (second.channel, second.paused, second.why) == ("canary", True, "cleaning")
    third = desire(settings, "arm-1", key, NOW, paused=False)
    assert (third.channel, third.paused, third.why) == ("canary", False, "")
    assert read_desired(settings, "arm-1", trusted) == third


def test_how_robots_stand(settings: Settings) -> None:
    one, two = joined(settings, "arm-1", group="line"), joined(settings, "arm-2")
    key = robot_key(settings.keys, "arm-1")
    assert key is not None
    now = time.time_ns()
    beat(
        settings, Heartbeat("arm-1", now + 90 * 10**9, "old-policy", channel="production", spool_logs=3), key
    )
    received = read_heartbeat(settings, one)
    assert received is not None
    assert received.clock_offset_s == pytest.approx(90, abs=5)
    assert read_heartbeat(settings, two) is None
    first, second = standings(settings, {"production": "new-policy"}, now)
    assert (first.state, first.pending, second.state) == ("online", "policy new-poli", "never seen")
    desire(settings, "arm-1", signing_key(settings.keys), now, paused=True, why="cleaning")
    late, _ = standings(settings, {"production": "new-policy"}, now + round((SILENT_S + 60) * 1e9))
    assert (late.state, late.pending) == ("offline", "pause, policy new-poli")
    beat(settings, Heartbeat("arm-1", now - 3600 * 10**9), key)  # as it lies after an older one was put back
    back, _ = standings(settings, {}, now)
    assert "3600 s behind the store's clock" in back.row()["why"]
    stranger = make_robot_key(settings.keys, "arm-2")
    beat(settings, Heartbeat("arm-1", now), stranger)
    unsound, _ = standings(settings, {}, now)
    assert unsound.state == "unsound"
    assert "not from the robot that was enrolled" in unsound.row()["why"]


def test_rights_in_a_bucket_are_a_robots_own(settings: Settings) -> None:
    robot = joined(settings, "arm-1", "north")
    with pytest.raises(UserError, match="no bucket"):
        bucket_policy(settings, robot)
    places = {name: f"s3://fleet/{name}" for name in ("landing", "robots", "releases", "policies")}
    said = bucket_policy(settings.model_copy(update=places), robot)["Statement"]
    writes = [r for s in said if "s3:PutObject" in s["Action"] for r in s["Resource"]]
    assert writes == [
        "arn:aws:s3:::fleet/landing/north/????-??-??/arm-1/*",
        "arn:aws:s3:::fleet/robots/arm-1/heartbeat.json",
    ]
    assert not [s for s in said if any("Delete" in action for action in s["Action"])]
    (lists,) = [s for s in said if s["Action"] == ["s3:ListBucket"]]
    assert lists["Resource"] == ["arn:aws:s3:::fleet"]
    assert "robots/arm-1/*" in lists["Condition"]["StringLike"]["s3:prefix"]
    assert "robots/*" not in lists["Condition"]["StringLike"]["s3:prefix"]


def test_robots_stay_enrolled_when_the_key_that_enrolled_them_goes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWD_HOME", settings.home)
    Lake.open(settings.lake, create=True)
    before = [joined(settings, "arm-1"), joined(settings, "arm-2")]
    wanted = desire(settings, "arm-2", signing_key(settings.keys), NOW, paused=True, why="cleaning")
    revoke(settings, "arm-2", signing_key(settings.keys), NOW + 1)
    planted = folder_of(settings, "arm-3")
    with planted.write("enrolment.json") as file:
        file.write(folder_of(settings, "arm-1").read("enrolment.json").replace(b"arm-1", b"arm-3"))
    (old,) = trusted_keys(settings.keys)

    def rotated() -> dict[str, list[str]]:
        return json.loads(CliRunner().invoke(app, ["keys", "rotate", "--resign", "--json"]).stdout)

    said = rotated()
    assert said["signed"] == [
        "robot arm-1: enrolment.json",
        "robot arm-2: enrolment.json",
        "robot arm-2: desired.json",
    ]
    (left,) = said["left"]
    assert "arm-3" in left
    assert "does not fit the bytes" in left
    distrust(settings.keys, old)
    found = enrolled(settings)
    assert found["arm-1"] == before[0]
    assert found["arm-2"] == replace(before[1], revoked_ns=NOW + 1)
    assert isinstance(found["arm-3"], str)
    assert read_desired(settings, "arm-2", trusted_keys(settings.keys)) == wanted


def test_a_person_commands_groups(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LWD_HOME", settings.home)

    def lwd(words: str) -> str:
        return CliRunner().invoke(app, words.split(), catch_exceptions=False).output

    for robot, group in (("arm-1", "west"), ("arm-2", "west"), ("arm-3", "east")):
        (tmp_path / f"{robot}.pem").write_text(lwd(f"robot key {robot}"))
        lwd(f"robot enrol {robot} --site lab --group {group} --key {tmp_path}/{robot}.pem")
    lwd("robot follow canary --group west")
    lwd("robot pause arm-3 --why cleaning")
    rows = {row["robot_id"]: row for row in json.loads(lwd("robot list --json"))}
    assert [rows[f"arm-{i}"]["channel"] for i in (1, 2, 3)] == ["canary", "canary", ""]
    assert rows["arm-3"]["why"] == "cleaning"
    lwd("robot resume --all")
    for words, why in (
        ("robot pause --group wets", "did you mean west"),
        ("robot pause arm-1 --all", "name robots, or --group, or --all"),
        ("robot enrol arm-4 --site lab", "lwd robot key arm-4"),
    ):
        with pytest.raises(UserError, match=why):
            lwd(words)
    lwd("robot revoke arm-1")
    assert {r["robot_id"]: r["state"] for r in json.loads(lwd("robot list --json"))}["arm-1"] == "revoked"
    Lake.open(settings.lake, create=True)
    lwd("fleet page")
    assert "Enrolled robots" in (Path(settings.reports) / "fleet.html").read_text()
