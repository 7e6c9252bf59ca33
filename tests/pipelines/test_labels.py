"""What other packages install, as assets and asset checks: the same work as `lwd label run` does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.labels import registry
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.people import PersonLabel, set_labels
from pipelines.assets import installed, labels
from pipelines.home import enter
from pipelines.partitions import DAY_SITE, SITES
from pipelines.platform import Platform
from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import Source
from tests.lwd_core.scripted import Scripted, land_scripted
from tests.packages import PLUGINS, Install, lay, lay_project

DAY, SITE = "2025-03-05", "harbour"
NOON_NS = 1_741_176_000 * 10**9
KEY = f"{DAY}|{SITE}"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A home with two episodes of a day."""
    for name in ("LWD_HOME", "DAGSTER_HOME", "DAGSTER_STATE_DIR", "LWD_PROFILE"):
        monkeypatch.setenv(name, "")  # so that what `enter` sets is taken back
    enter(str(tmp_path / "home"), "tiny")
    platform = Platform()
    settings = platform.settings
    Workcells().install(settings.embodiments)
    for seed in range(2):
        script = Scripted("push", Source.ROLLOUT, seed, policy_id="p")
        land_scripted(settings.landing, RobotSpec(f"{SITE}-0{seed}", SITE), DAY, NOON_NS, script)
    ingest(platform.lake(), settings, [settings.landing], embodiments=platform.embodiments(), now_ns=NOON_NS)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(str(SITES.name), [SITE])
        yield instance


def materialize(instance: dg.DagsterInstance, name: str) -> dg.ExecuteInProcessResult:
    assets, checks = installed.others()
    upstream = [dg.AssetSpec(table, partitions_def=DAY_SITE) for table in ("episodes", "steps", "segments")]
    return dg.materialize(
        [*upstream, *assets, *checks], selection=[installed.layer_key(name)], partition_key=KEY,
        instance=instance, resources={"platform": Platform()}, raise_on_error=False,
    )  # fmt: skip


def test_a_label_is_an_asset_that_labels_what_is_new(instance: dg.DagsterInstance, install: Install) -> None:
    install("labels")
    result = materialize(instance, "kitchen.effort")
    assert result.success
    (made,) = result.asset_materializations_for_node("labels__kitchen__effort")[-1:]
    assert made.metadata["new episodes"].value == 2
    rows = Platform().lake().read("labels", where="layer_id = 'kitchen.effort@1'")
    assert rows.num_rows > 100
    assert [(e.check_name, e.passed) for e in result.get_asset_check_evaluations()] == [
        ("every_episode_is_labelled", True)
    ]
    (again,) = materialize(instance, "kitchen.effort").asset_materializations_for_node(
        "labels__kitchen__effort"
    )[-1:]
    assert again.metadata["new episodes"].value == 0


CHECK = """
from lwd_core.labels import check

@check("acme.never", version=2)
def never(episode):
    if episode.attributes.get("robot_id") or episode.facts["robot_id"] == "harbour-01":
        raise OSError("camera")
    return False
"""


def test_a_check_that_fails_warns_and_an_episode_without_a_verdict_is_named(
    instance: dg.DagsterInstance,
    install: Install,
) -> None:
    install("acme", CHECK, checks={"acme.never": "acme:never"})
    result = materialize(instance, "acme.never")
    assert result.success
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed) == ("every_episode_passes", False)
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "| acme.never | 1 | 1 |" in str(found.metadata["verdicts"].value)
    assert len(str(found.metadata["without a label"].value).splitlines()) == 3


def test_one_that_is_broken_fails_alone_with_its_reason(
    instance: dg.DagsterInstance,
    install: Install,
) -> None:
    install("labels")
    install("acme", "raise OSError('no licence')", labels={"acme.spill": "acme:spill"})
    specs = {a.key.to_user_string(): next(iter(a.specs)) for a in installed.others()[0]}
    assert set(specs) == {"labels/acme/spill", "labels/kitchen/effort", "labels/kitchen/calm"}
    assert "no licence" in str(specs["labels/acme/spill"].description)
    assert specs["labels/kitchen/calm"].code_version == "1"
    failed = materialize(instance, "acme.spill")
    assert not failed.success
    assert materialize(instance, "kitchen.calm").success


def test_a_name_that_no_asset_can_have_is_one_that_is_broken(install: Install) -> None:
    install("acme", "x = 1", labels={"acme spill!/x": "acme:x", "acme..x": "acme:x"})
    keys = {asset.key.to_user_string() for asset in installed.others()[0]}
    assert keys == {"labels/acme_20_spill_21__2f_x", "labels/acme/_/x"}


def test_the_code_location_has_what_is_installed(tmp_path: Path) -> None:
    """In its jobs, before snapshots, and loads beside what is broken; without anything heavy."""
    kitchen = lay_project(PLUGINS / "labels", tmp_path / "kitchen")
    acme = lay(tmp_path / "acme", "acme", "1 / 0", {"lwd.labels": {"acme.spill": "acme:spill"}})
    code = """
import sys
from pipelines.definitions import defs
day = defs.resolve_job_def("ingest_day").asset_layer.selected_asset_keys
print(sorted(key.to_user_string() for key in day if key.path[0] == "labels"))
specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
print([dep.asset_key.to_user_string() for dep in specs["training_snapshot"].deps][-2:])
print([dep.asset_key.to_user_string() for dep in specs["labels/kitchen/calm"].deps])
print(specs["labels/acme/spill"].description)
print(sorted({"torch", "duckdb", "deltalake", "scipy"} & set(sys.modules)))
"""
    path = os.pathsep.join([str(kitchen), str(acme), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    day, snapshot, calm, broken, heavy = done.stdout.splitlines()
    assert day == "['labels/kitchen/calm', 'labels/kitchen/effort']"
    assert snapshot == "['labels/kitchen/effort', 'labels/kitchen/calm']"
    assert calm == "['episodes', 'steps', 'segments']"
    assert "ZeroDivisionError: division by zero" in broken
    assert heavy == "[]"


def test_judges_who_differ_are_a_warning(instance: dg.DagsterInstance) -> None:
    platform = Platform()
    run_labellers(platform.lake(), registry.own(), now_ns=NOON_NS, embodiments=platform.embodiments())
    first = platform.lake().read("episodes")["episode_id"][0].as_py()
    said = [PersonLabel(first, by, "outcome", text) for by, text in (("ann", "success"), ("bob", "failure"))]

    def checked() -> dict[str, tuple[bool, dg.AssetCheckSeverity]]:
        result = dg.materialize(
            [
                *(dg.AssetSpec(t, partitions_def=DAY_SITE) for t in ("episodes", "steps", "segments")),
                labels.outcomes, labels.quality,
                labels.judges_agree, labels.no_recording_has_a_defect,
            ],
            selection=["outcomes", "quality"],
            partition_key=KEY, instance=instance, resources={"platform": platform},
        )  # fmt: skip
        return {e.check_name: (e.passed, e.severity) for e in result.get_asset_check_evaluations()}

    assert checked()["judges_agree"] == (True, dg.AssetCheckSeverity.WARN)
    set_labels(platform.lake(), said, now_ns=NOON_NS)
    row = dict.fromkeys(LABELS.names) | {
        "layer_id": "quality@1", "kind": "quality", "episode_id": first, "log_id": "l", "site": SITE,
        "day": DAY, "check": "defect.made_up", "text": "fail", "created_ns": 1,
    }  # fmt: skip
    platform.lake().append("labels", pa.Table.from_pylist([row], LABELS.schema))
    assert checked() == dict.fromkeys(
        ("judges_agree", "no_recording_has_a_defect"), (False, dg.AssetCheckSeverity.WARN)
    )
