"""Features as an asset: what the profile's policies see by is made of a day's frames, and nothing else."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipelines.assets.features import features, visions
from pipelines.partitions import DAY_SITE, SITES
from pipelines.platform import Platform
from pipelines.profile import PROFILES, load_profile
from tests.lwd_core.recorded import recorded_lake

KEY = "2026-01-01|north"
SEES = {"cameras": ["front"], "height": 32, "width": 32, "pretrained": "efficientnet-lite0"}


def profile(tmp_path: Path, **training: object) -> str:
    """The tiny profile, which trains so."""
    plan = yaml.safe_load((PROFILES / "tiny.yaml").read_text())
    path = tmp_path / "eyes.yaml"
    path.write_text(yaml.safe_dump(plan | {"training": plan["training"] | training}))
    return str(path)


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str) -> dict[str, object]:
    """What the asset says of a day's frames."""
    monkeypatch.setenv("LWD_HOME", str(tmp_path / "home"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(SITES.name), ["north"])
        upstream = [dg.AssetSpec(table, partitions_def=DAY_SITE) for table in ("episodes", "steps")]
        result = dg.materialize(
            [*upstream, features], selection=[features], partition_key=KEY, instance=instance,
            resources={"platform": Platform(profile=profile)},
        )  # fmt: skip
    (said,) = result.asset_materializations_for_node("features")
    return {name: value.value for name, value in said.metadata.items()}


def test_a_profile_whose_policies_see_by_none_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded_lake(tmp_path / "home" / "lake")
    assert visions(load_profile("tiny")) == []
    said = made(tmp_path, monkeypatch, profile(tmp_path))
    assert said["frames"] == 0
    own = SEES | {"pretrained": None}
    said = made(tmp_path, monkeypatch, profile(tmp_path, network={"vision": own}))
    assert said["frames"] == 0


def test_a_days_frames_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded_lake(tmp_path / "home" / "lake")
    plan = profile(tmp_path, network={"vision": SEES})
    (vision,) = visions(load_profile(plan))
    assert vision.cameras == ("front",)
    first, again = (made(tmp_path, monkeypatch, plan) for _ in range(2))
    (layer,) = (name for name in first if name.startswith("efficientnet-lite0@"))
    assert first[layer] == "75 frames looked at, 0 before, 0 faults"
    assert again[layer] == "0 frames looked at, 75 before, 0 faults"
