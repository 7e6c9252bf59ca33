"""Definitions: they load without anything heavy, and a change of the graph shows up in a review."""

import subprocess
import sys

import dagster as dg

from pipelines.definitions import defs

GRAPH = {
    "fleet_logs": set(),
    "logs": {"fleet_logs"},
    "episodes": {"fleet_logs"},
    "steps": {"fleet_logs"},
    "segments": {"fleet_logs"},
    "rewards": {"episodes", "steps", "segments"},
    "outcomes": {"episodes", "steps", "segments"},
    "quality": {"episodes", "steps", "segments"},
    "pictures": {"episodes", "steps", "segments"},
    "features": {"episodes", "steps"},
    "training_snapshot": {"rewards", "outcomes", "quality", "pictures"},
    "checkpoint": {"training_snapshot", "features"},
    "policy": {"checkpoint"},
    "evaluation": {"policy"},
    "release": {"evaluation"},
    "values": {"checkpoint"},
    "report": {"release", "values"},
}


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_graph_is_the_architecture_picture() -> None:
    found = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs().items()}
    assert found == GRAPH


def test_every_asset_says_what_it_is() -> None:
    for name, spec in specs().items():
        assert spec.description, name
        assert spec.group_name != "default", name
        assert spec.owners, name
        assert spec.kinds or name == "release", name


def test_tables_show_their_columns_with_units() -> None:
    schema = specs()["steps"].metadata["dagster/column_schema"]
    shown = {c.name: c.description for c in schema.schema.columns}
    assert "[ns since epoch]" in shown["t_ns"]


def test_definitions_load_without_anything_heavy() -> None:
    code = (
        "import sys, pipelines.definitions; "
        "print(sorted({'torch', 'duckdb', 'deltalake', 'mujoco', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


BLOCKING = {
    ("logs", "schema"), ("logs", "key"), ("logs", "reconciliation"),
    ("logs", "files"), ("episodes", "files"), ("steps", "files"), ("segments", "files"),
    ("episodes", "schema"), ("episodes", "key"), ("episodes", "whole"),
    ("steps", "schema"), ("steps", "key"), ("segments", "schema"), ("segments", "key"),
    ("quality", "recordings_are_sound"), ("training_snapshot", "snapshot_verifies"),
    ("evaluation", "gate_passes"),
}  # fmt: skip


def test_what_blocks_before_publication() -> None:
    found = {
        (spec.asset_key.to_user_string(), spec.name)
        for checks in defs.asset_checks or ()
        for spec in checks.check_specs
        if spec.blocking
    }
    assert found == BLOCKING


def test_data_and_policies_may_not_grow_old_and_labels_follow_by_themselves() -> None:
    kept = specs()
    fresh = {name for name, spec in kept.items() if spec.freshness_policy}
    labels = {"rewards", "outcomes", "quality", "pictures"}
    assert fresh == {"logs", "episodes", "steps", "segments", *labels, "features", "policy"}
    following = {name for name, spec in kept.items() if spec.automation_condition}
    assert following == {*labels, "features", "report"}
