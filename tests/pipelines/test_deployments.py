"""What lies under deploy/: held against the schemas of those who read it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import UserDefinedDagsterK8sConfig
from dagster_ray import RayRunLauncher

from lwd_core.errors import UserError
from lwd_core.settings import PLACES, Settings, from_file
from pipelines.launch import pod, surroundings

DEPLOY = Path(__file__).parents[2] / "deploy"
LAUNCHERS = {"K8sRunLauncher": K8sRunLauncher, "RayRunLauncher": RayRunLauncher}
KUBERNETES = "1.30"


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "k8s" / "lwd.yaml").read_text()))


def configuration(name: str) -> dict[str, Any]:
    return next(m for m in manifests() if m["kind"] == "ConfigMap" and m["metadata"]["name"] == name)["data"]


@pytest.mark.parametrize("manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_manifests_are_what_kubernetes_accepts(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_every_place_but_keys_and_embodiments_lies_in_the_bucket() -> None:
    for text in (configuration("lwd-config")["lwd.toml"], (DEPLOY / "s3-postgres" / "lwd.toml").read_text()):
        there = {name for name, place in tomllib.loads(text).items() if str(place).startswith("s3://lwd/")}
        assert there == set(PLACES) - {"embodiments"}


def made_by_hand() -> set[str]:
    """What the commands at the head of the file make."""
    text = (DEPLOY / "k8s" / "lwd.yaml").read_text()
    return set(re.findall(r"create (?:secret generic|configmap) (\S+)", text))


def test_the_places_of_the_settings_are_mounted_where_they_are_read() -> None:
    """Keys and embodiment files, where definitions load and where runs work."""
    settings = tomllib.loads(configuration("lwd-config")["lwd.toml"])
    wanted = {"/etc/lwd/lwd.toml", settings["embodiments"], f"{settings['keys']}/trusted"}
    launcher = yaml.safe_load(configuration("lwd-config")["dagster.yaml"])["run_launcher"]["config"]
    assert wanted <= {m["mountPath"] for m in launcher["volume_mounts"]}
    volumes = {v["configMap"]["name"] for v in launcher["volumes"]}
    assert volumes <= {m["metadata"]["name"] for m in manifests()} | made_by_hand()
    (code,) = [m for m in manifests() if (m["kind"], m["metadata"]["name"]) == ("Deployment", "lwd-code")]
    (container,) = code["spec"]["template"]["spec"]["containers"]
    assert wanted <= {m["mountPath"] for m in container["volumeMounts"]}


def test_only_runs_hold_the_private_key() -> None:
    launcher = yaml.safe_load(configuration("lwd-config")["dagster.yaml"])["run_launcher"]["config"]
    assert "lwd-signing" in launcher["env_secrets"]
    assert "lwd-signing" not in yaml.safe_dump([m for m in manifests() if m["kind"] == "Deployment"])
    assert "lwd-signing" not in yaml.safe_dump(pod(Settings(train_image="registry.example/lwd:1")))


def test_manifests_name_only_what_is_there() -> None:
    """Volumes of Deployments are config maps and secrets that exist or that the head of the file makes."""
    known = {m["metadata"]["name"] for m in manifests()} | made_by_hand()
    for manifest in manifests():
        if manifest["kind"] != "Deployment":
            continue
        inside = manifest["spec"]["template"]["spec"]
        (container,) = inside["containers"]
        named = {v.get("configMap", {}).get("name") or v["secret"]["secretName"] for v in inside["volumes"]}
        named |= {next(iter(source.values()))["name"] for source in container["envFrom"]}
        assert named <= known
        assert {m["name"] for m in container["volumeMounts"]} <= {v["name"] for v in inside["volumes"]}


def test_the_webserver_is_reached_through_the_pod_only() -> None:
    (web,) = [m for m in manifests() if m["metadata"]["name"] == "lwd-webserver"]
    command = web["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert not [
        m for m in manifests() if m["kind"] in {"Ingress", "Service"} and "web" in m["metadata"]["name"]
    ]


def dagster_files() -> dict[str, str]:
    found = {path.parent.name: path.read_text() for path in DEPLOY.glob("*/dagster.yaml")}
    return found | {"k8s": configuration("lwd-config")["dagster.yaml"]}


@pytest.mark.parametrize("name", ["s3-postgres", "ray", "k8s"])
def test_dagster_takes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LWD_POSTGRES_URL", "postgresql://lwd@127.0.0.1/lwd")
    (tmp_path / "dagster.yaml").write_text(dagster_files()[name])
    config, _ = dagster_instance_config(str(tmp_path))
    launcher = config.get("run_launcher")
    if launcher:
        schema = LAUNCHERS[launcher["class"]].config_type()
        checked = process_config(dg.Shape(schema) if isinstance(schema, dict) else schema, launcher["config"])
        assert checked.success, checked.errors


@pytest.mark.parametrize("text", [*(p.read_text() for p in sorted(DEPLOY.glob("*/lwd.toml")))])
def test_settings_files_are_right(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lwd.toml"
    path.write_text(text)
    Settings(**from_file(path, set(Settings.model_fields)))


def k8s_settings(tmp_path: Path) -> Settings:
    path = tmp_path / "lwd.toml"
    path.write_text(configuration("lwd-config")["lwd.toml"])
    return Settings(**from_file(path, set(Settings.model_fields)))


def test_the_pod_of_a_training_is_one(tmp_path: Path) -> None:
    settings = k8s_settings(tmp_path)
    spec = pod(settings)
    UserDefinedDagsterK8sConfig(pod_spec_config=spec)
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "training"}, "spec": spec}
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    assert spec["containers"][0]["resources"]["limits"] == {
        "cpu": "8",
        "memory": "32Gi",
        "nvidia.com/gpu": "1",
    }
    told = surroundings(settings)
    assert told["LWD_CHECKPOINTS"] == "s3://lwd/checkpoints"
    assert not [name for name in told if "KEY" in name and name != "LWD_KEYS"]


def test_a_pod_without_an_image_is_refused() -> None:
    with pytest.raises(UserError, match="train_image"):
        pod(Settings(train_on="k8s"))
