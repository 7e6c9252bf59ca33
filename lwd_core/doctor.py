"""What a healthy installation looks like, checked one by one, each with what to do where it isn't."""

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from lwd_core.errors import UserError
from lwd_core.lake.conditional import require_conditional_put
from lwd_core.lake.place import open_place
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.keys import SIGNING_KEY_VARIABLE, trusted_keys
from lwd_core.settings import Settings
from storage_schemas.tables import TABLES


class Health(StrEnum):
    """``ABSENT`` is not wrong: the thing has not been made yet."""

    OK = "ok"
    ABSENT = "absent"
    WRONG = "wrong"


@dataclass(frozen=True)
class Diagnosis:
    """One check's answer; ``remedy`` says what to do unless all is well."""

    name: str
    health: Health
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Diagnosis]:
    """Run every check; a check that fails unexpectedly is a diagnosis too."""
    for name, check in CHECKS.items():
        try:
            yield check(settings)
        except UserError as error:
            yield Diagnosis(name, Health.WRONG, str(error), "see the message")
        except OSError as error:
            yield Diagnosis(name, Health.WRONG, str(error), "check the path, the rights and the network")


def _python(settings: Settings) -> Diagnosis:
    return Diagnosis("python", Health.OK, sys.version.split()[0])


def _packages(settings: Settings) -> Diagnosis:
    wanted = ("deltalake", "duckdb", "mcap", "polars", "pyarrow", "torch")
    found, missing = [], []
    for name in wanted:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Diagnosis("packages", Health.WRONG, f"missing: {', '.join(missing)}", "run `make setup`")
    return Diagnosis("packages", Health.OK, ", ".join(found))


def _simulator(settings: Settings) -> Diagnosis:
    try:
        version = importlib.metadata.version("metaworld")
        mujoco = importlib.metadata.version("mujoco")
    except importlib.metadata.PackageNotFoundError:
        return Diagnosis("simulator", Health.ABSENT, "not installed", "`pip install 'lwd[sim]'` for the demo")
    if mujoco != "3.3.0":
        return Diagnosis(
            "simulator",
            Health.WRONG,
            f"mujoco {mujoco}",
            "install mujoco 3.3.0: Meta-World needs exactly that",
        )
    return Diagnosis("simulator", Health.OK, f"metaworld {version}, mujoco {mujoco}")


def _places(settings: Settings) -> Diagnosis:
    """Every place takes a write."""
    places = {
        name: getattr(settings, name) for name in ("landing", "lake", "snapshots", "policies", "releases")
    }
    for name, root in places.items():
        place = open_place(root)
        try:
            if place.remote:
                require_conditional_put(place)
            else:
                with place.write(".lwd-doctor") as file:
                    file.write(b"")
                place.remove(".lwd-doctor")
        except OSError as error:
            return Diagnosis(
                "places",
                Health.WRONG,
                f"{name}: {root} ({error})",
                f"make it writable or set LWD_{name.upper()}",
            )
    return Diagnosis("places", Health.OK, f"home {settings.home}")


def _lake(settings: Settings) -> Diagnosis:
    place = open_place(settings.lake)
    if not place.exists("tables", "episodes", "_delta_log"):
        return Diagnosis("lake", Health.ABSENT, settings.lake, "`lwd init` or `lwd ingest` makes one")
    lake = Lake.open(settings.lake)
    for name, table in TABLES.items():
        unknown = [c for c in lake.log(name).columns() if c not in table.names]
        if unknown:
            return Diagnosis(
                "lake",
                Health.WRONG,
                f"table {name} has columns this version does not know: {', '.join(unknown)}",
                "upgrade lwd to the version that wrote them",
            )
    row = lake.sql("SELECT count(*) AS episodes, max(day) AS newest FROM episodes").to_pylist()[0]
    return Diagnosis("lake", Health.OK, f"{row['episodes']} episodes, newest day {row['newest']}")


def _embodiments(settings: Settings) -> Diagnosis:
    found = load_embodiments(settings.embodiments)
    if not found:
        return Diagnosis(
            "embodiments",
            Health.ABSENT,
            settings.embodiments,
            "`lwd embodiment infer LOG` drafts one from a log",
        )
    return Diagnosis("embodiments", Health.OK, ", ".join(sorted(found)))


def _keys(settings: Settings) -> Diagnosis:
    trusted = trusted_keys(settings.keys)
    if not trusted:
        return Diagnosis("keys", Health.ABSENT, settings.keys, "`lwd keys rotate` makes one")
    where = "the environment" if os.environ.get(SIGNING_KEY_VARIABLE) else settings.keys
    return Diagnosis("keys", Health.OK, f"{len(trusted)} trusted, signing key from {where}")


CHECKS: dict[str, Callable[[Settings], Diagnosis]] = {
    "python": _python,
    "packages": _packages,
    "simulator": _simulator,
    "places": _places,
    "lake": _lake,
    "embodiments": _embodiments,
    "keys": _keys,
}
