"""A move in a bucket that is killed anywhere loses nothing and is finished by the next call."""

import json
from pathlib import Path

import pytest

from lwd_core.storage.location import Location, open_location
from lwd_core.training import names
from lwd_core.training.checkpoint import MANIFEST, STATE, steps
from tests.lwd_core.lake.servers import KEYS, moto

OURS, THEIRS = ({"config": {"init": None, "seed": seed}, "init": None} for seed in (0, 1))


def write(place: Location, run: str, about: dict, updates: list[int]) -> None:
    for update in updates:
        for name, data in (
            (STATE, b"state"),
            (MANIFEST, json.dumps({"about": {**about, "update": update}}).encode()),
        ):
            with place.write(run, f"step-{update}", name) as file:
                file.write(data)


def wanted(about: dict) -> str:
    return names.identity(about["config"], about["init"])


def whole(place: Location) -> dict[str, list[int]]:
    runs = {name.rstrip("/").rsplit("/", 1)[-1] for name in place.fs.ls(place.path(), detail=False)}
    return {run: found for run in sorted(runs) if (found := steps(open_location(place.path(run))))}


class Killed(Exception):
    pass


def test_a_move_in_a_bucket_survives_a_kill_at_any_write(monkeypatch: pytest.MonkeyPatch) -> None:
    with moto() as url:
        for name, value in (KEYS | {"LWD_S3_ENDPOINT": url}).items():
            monkeypatch.setenv(name, value)
        aside = names.aside("run", wanted(THEIRS))
        for n in range(20):
            place = open_location(f"s3://lake/{n}", url)
            write(place, "run", THEIRS, [6])
            left = [n]
            with monkeypatch.context() as patch:
                for verb in ("cp_file", "rm_file"):
                    patch.setattr(place.fs, verb, _counted(getattr(place.fs, verb), left))
                try:
                    names.take(place.root, "run", wanted(OURS))
                    killed = False
                except Killed:
                    killed = True
            there = whole(place)
            assert 6 in there.get("run", []) + there.get(aside, []), "the finished one is there throughout"
            names.take(place.root, "run", wanted(OURS))
            assert whole(place) == {aside: [6]}
            names.take(place.root, "run", wanted(THEIRS))
            assert whole(place) == {"run": [6]}
            if not killed:
                assert n == 4  # two files copied, two removed
                return
        pytest.fail("never came to its end")


def _counted(verb, left: list[int]):
    def act(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return verb(*args, **kwargs)

    return act


def test_an_address_counts_by_what_it_names_not_by_where_it_lies(tmp_path: Path) -> None:
    same = {names.identity({"init": f"{root}/sft/step-6"}, "d") for root in ("/a", "s3://b/c", "lwd-data")}
    assert same == {names.identity({"init": "sft/step-6"}, "d")}
    assert names.identity({"init": "sft/step-6"}, "d") != names.identity({"init": "sft/step-6"}, "e")
