"""To the Hub and back: its own client against a server on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import constants
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.exports.export import export
from lwd_core.hub import pull_dataset, pull_policy, push_dataset, push_policy, within
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import BadBundle, save_bundle
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.storage.location import open_location
from storage_schemas.policy import Lineage, PolicyManifest
from tests.lwd_core.hub_stub import COMMIT, Hub, serving
from tests.lwd_core.recorded import ARM, recorded_lake

TOKEN = "hf_never_said_aloud_0123456789"
REPO = "acme/doors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving() as hub:
        pointed_at(hub.url, monkeypatch)
        yield hub


def pointed_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does; the client reads it when it is imported."""
    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
    }.items():
        monkeypatch.setattr(constants, name, value)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return recorded_lake(tmp_path / "lake")


@pytest.fixture
def exported(lake: Lake, tmp_path: Path) -> Path:
    return export("lerobot", lake, tmp_path / "set", embodiments={"arm": ARM}).folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_set_goes_there_and_back_byte_by_byte(hub: Hub, lake: Lake, exported: Path, tmp_path: Path) -> None:
    pushed = push_dataset(exported, REPO, lake.tombstones)
    assert (pushed.commit, pushed.url) == (COMMIT, f"{hub.url}/{REPO}/commit/{COMMIT}")
    [made] = hub.made
    assert made.get("private") or made.get("visibility") == "private", made
    assert hub.tags == ["v3.0"]  # LeRobot finds the version of a set so
    assert "- LeRobot" in hub.files[REPO]["README.md"].decode()
    pulled = pull_dataset(REPO, tmp_path / "again")
    back = files(pulled.folder)
    assert back.pop("README.md")
    assert back == files(exported)
    assert (pulled.commit, pulled.files, pulled.left) == (COMMIT, len(back) + 1, ())
    assert f"Bearer {TOKEN}" in hub.tokens <= {f"Bearer {TOKEN}", None}  # YAML is checked for anybody
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "lake", "set"]


def test_an_episode_that_was_erased_since_does_not_leave(hub: Hub, lake: Lake, exported: Path) -> None:
    rows = pq.read_table(exported / "meta/episodes/chunk-000/file-000.parquet")
    lake.tombstones.bury([rows["lwd/episode_id"][1].as_py()], {})
    with pytest.raises(UserError, match="acme/doors on the Hub: episodes in it were erased"):
        push_dataset(exported, REPO, lake.tombstones)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", "a\\..\\out", "", "C:/out", "a\0b"])
def test_a_name_that_leaves_its_folder(name: str) -> None:
    assert not within(name)
    assert within("data/chunk-000/file.parquet")
    assert within("...")


def test_a_server_that_reaches_out_gets_nothing_written(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPO] = {"meta/info.json": b"{}", "../out": b"mine"}
    with pytest.raises(UserError, match=r"'../out', which leaves its folder; nothing was fetched"):
        pull_dataset(REPO, tmp_path / "in" / "set")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_what_could_run_is_left_and_named(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPO] = {"meta/info.json": b"{}", "load.py": b"boom", "old/a.pkl": b"boom"}
    pulled = pull_dataset(REPO, tmp_path / "set")
    assert files(pulled.folder) == {"meta/info.json": b"{}"}
    assert pulled.left == ("load.py", "old/a.pkl")
    assert not any("load.py" in line for line in hub.asked)


def test_there_must_be_room(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files[REPO] = {"meta/info.json": b"{}" * 100}
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Disk", (), {"free": 5})())
    with pytest.raises(UserError, match="200 bytes, and .* has room for 5"):
        pull_dataset(REPO, tmp_path / "set")


def test_the_hub_s_refusals_are_one_line_without_the_token(
    hub: Hub, exported: Path, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(call) -> str:
        with pytest.raises(UserError) as error:
            call()
        assert TOKEN not in str(error.value)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "acme/none: the Hub has none that you may see" in said(
        lambda: pull_dataset("acme/none", tmp_path / "a")
    )
    assert "is called OWNER/NAME" in said(lambda: pull_dataset("no//name", tmp_path / "a"))
    hub.refuse = {f"Bearer {TOKEN}"}
    refused = said(lambda: push_dataset(exported, REPO, lake.tombstones))
    assert "look at the name, and at HF_TOKEN" in refused
    pointed_at("http://me:pass@127.0.0.1:9", monkeypatch)
    away = said(lambda: pull_dataset(REPO, tmp_path / "a"))
    assert "the Hub at http://***@127.0.0.1:9 can't be reached" in away
    assert not (tmp_path / "a").exists()


def test_offline_is_said(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        pull_dataset(REPO, tmp_path / "a")


@pytest.fixture
def home(tmp_path: Path):
    keys = str(tmp_path / "home/keys")
    manifest = PolicyManifest(
        network={},
        instructions=(),
        config={"stage": "sft"},
        embodiments={},
        weights_sha256="",
        lineage=Lineage("sft", "runs/step-1", 1, ("d" * 64,)),
    )
    policies = str(tmp_path / "home/policies")
    bundle = save_bundle(policies, manifest, {"w": torch.ones(2)}, signing_key(keys))
    return keys, policies, bundle.policy_id


def test_a_policy_comes_back_only_with_a_signature_that_is_trusted(hub: Hub, home, tmp_path: Path) -> None:
    keys, policies, policy_id = home
    pushed = push_policy(open_location(policies), policy_id, "acme/policy")
    assert pushed.commit == COMMIT
    hub.files["acme/policy"]["pytorch_model.bin"] = b"boom"
    there = str(tmp_path / "there")
    bundle = pull_policy("acme/policy", there, trusted_keys(keys))
    assert bundle.policy_id == policy_id
    assert files(Path(there)) == files(Path(policies))
    with pytest.raises(BadBundle, match="trust the key"):
        pull_policy("acme/policy", str(tmp_path / "other"), {})
    weights = hub.files["acme/policy"]["weights.safetensors"]
    hub.files["acme/policy"]["weights.safetensors"] = weights[:-1] + b"\x01"
    with pytest.raises(BadBundle, match="do not match the manifest"):
        pull_policy("acme/policy", str(tmp_path / "other"), trusted_keys(keys))
    del hub.files["acme/policy"]["signature.json"]
    with pytest.raises(BadBundle, match=r"no signature.json; it is no policy"):
        pull_policy("acme/policy", str(tmp_path / "other"), trusted_keys(keys))
    assert not list((tmp_path / "other").glob("*"))


def test_commands_answer(hub: Hub, lake: Lake, exported: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LWD_LAKE", str(tmp_path / "lake"))

    def lwd(*words: str) -> str:
        result = CliRunner().invoke(app, ["hub", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert json.loads(lwd("push", str(exported), REPO, "--json"))["commit"] == COMMIT
    hub.files[REPO]["run.sh"] = b""
    assert lwd("pull", REPO, str(tmp_path / "p")).startswith(f"{tmp_path}/p: ")
    assert json.loads(lwd("pull", REPO, str(tmp_path / "q"), "--json"))["left"] == ["run.sh"]
