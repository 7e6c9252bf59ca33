"""What a healthy installation looks like, checked one by one, each with what to do where it isn't."""

import ctypes.util
import importlib.metadata
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement

from lwd_core.errors import UserError
from lwd_core.ingest.reconcile import quarantine
from lwd_core.lake.integrity import all_damage
from lwd_core.lake.same_recording import DUPLICATES
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.plugins import others
from lwd_core.policies.keys import SIGNING_KEY_VARIABLE, trusted_keys
from lwd_core.policies.release import disagreement, recorded
from lwd_core.settings import Settings
from lwd_core.storage.conditional import require_conditional_put
from lwd_core.storage.location import open_location
from storage_schemas.tables import TABLES
from storage_schemas.vocabulary import Channel

#: Less than this is no room for a day of logs and a training run.
ROOM = 2**30
#: Faults of files that are listed one by one.
SHOWN = 50


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


def examine(settings: Settings, *, deep: bool = False) -> Iterator[Diagnosis]:
    """Run every check; a check that fails unexpectedly is a diagnosis too.

    ``deep`` reads every byte of the lake, where otherwise names and sizes are compared.
    """
    for name, check in (CHECKS | {"files": partial(_files, deep=deep)}).items():
        try:
            found = check(settings)
            yield from found if isinstance(found, list) else [found]
        except UserError as error:
            yield Diagnosis(name, Health.WRONG, str(error), "see the message")
        except OSError as error:
            yield Diagnosis(name, Health.WRONG, str(error), "check the path, the rights and the network")
        except Exception as error:  # whatever is broken must not hide what else is
            found = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            yield Diagnosis(name, Health.WRONG, found, "see what `files` says; else report it")


def _versions(settings: Settings) -> Diagnosis:
    """This package, Python, and the parts whose version decides what files look like."""
    named = ("lwd", "deltalake", "duckdb", "pyarrow", "torch")
    found = [f"{name} {version}" for name in named if (version := _installed(name))]
    found.append(f"python {sys.version.split()[0]}")
    return Diagnosis("versions", Health.OK, ", ".join(found))


def _packages(settings: Settings) -> Diagnosis:
    """What the installed package says it needs, without its extras."""
    wanted = [Requirement(text) for text in importlib.metadata.requires("lwd") or ()]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = []
    for requirement in wanted:
        version = _installed(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        return Diagnosis(
            "packages", Health.WRONG, "; ".join(wrong), "`pip install --upgrade lwd`, or `make setup`"
        )
    return Diagnosis("packages", Health.OK, f"{len(wanted)} in their ranges")


def _plugins(settings: Settings) -> list[Diagnosis]:
    """What other packages add, each loaded once as its door does; a line for each that can't be used."""
    found, broken = others()
    faults = [Diagnosis("plugins", Health.WRONG, line, "mend or uninstall that package") for line in broken]
    if found or not faults:
        faults.append(Diagnosis("plugins", Health.OK, ", ".join(found) or "none of other packages"))
    return faults


def _viewer(settings: Settings) -> Diagnosis:
    version = _installed("rerun-sdk")
    if version is None:
        return Diagnosis(
            "viewer", Health.ABSENT, "not installed", "`pip install 'lwd[view]'` for episode view"
        )
    return Diagnosis("viewer", Health.OK, f"rerun {version}")


def _rendering(settings: Settings) -> Diagnosis:
    """Simulated cameras draw without a screen, through EGL."""
    if ctypes.util.find_library("EGL") is None:
        remedy = "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri, or --cameras 0"
        return Diagnosis("rendering", Health.ABSENT, "no EGL", remedy)
    return Diagnosis("rendering", Health.OK, "EGL")


def _disk(settings: Settings) -> Diagnosis:
    """Room where the home lies; a bucket has no end."""
    if "://" in settings.home:
        return Diagnosis("disk", Health.OK, f"home {settings.home}")
    there = _nearest(settings.home)
    free = shutil.disk_usage(there).free
    said = f"{free / 2**30:.1f} GiB free at {there}"
    if free < ROOM:
        return Diagnosis("disk", Health.WRONG, said, "make room (`lwd lake vacuum`), or move LWD_HOME")
    return Diagnosis("disk", Health.OK, said)


def _nearest(path: str) -> Path:
    """The path, or the nearest of its parents that exists."""
    return next(p for p in (Path(path), *Path(path).parents) if p.exists())


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _simulator(settings: Settings) -> Diagnosis:
    version, mujoco = _installed("metaworld"), _installed("mujoco")
    if version is None or mujoco is None:
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
        place = open_location(root)
        try:
            if place.remote:
                require_conditional_put(place)
            elif not place.exists():  # looking makes nothing
                near = _nearest(place.root)
                if not near.is_dir() or not os.access(near, os.W_OK):
                    raise PermissionError(f"{near} can't be written")
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
    if not open_location(settings.lake).exists("tables"):
        return Diagnosis("lake", Health.ABSENT, settings.lake, "`lwd init` or `lwd ingest` makes one")
    if not open_location(settings.lake).exists("tables", "episodes", "_delta_log"):
        said = "the log of table episodes is gone"
        return Diagnosis("lake", Health.WRONG, said, "restore it from a backup before anything is ingested")
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
    lake.tombstones.count()  # raises for one that is damaged
    row = lake.sql("SELECT count(*) AS episodes, max(day) AS newest FROM episodes").to_pylist()[0]
    newest = f", newest day {row['newest']}" if row["episodes"] else ""
    return Diagnosis("lake", Health.OK, f"{row['episodes']} episodes{newest}")


def _files(settings: Settings, deep: bool = False) -> list[Diagnosis]:
    """Every file of the lake's newest versions is there, as large as the tables' logs say; a line a fault."""
    place = open_location(settings.lake)
    if not place.exists("tables"):
        return [Diagnosis("files", Health.ABSENT, settings.lake, "`lwd init` or `lwd ingest` makes one")]
    found = []
    for fault in all_damage(Lake(place), deep=deep):
        what, _, remedy = fault.rpartition("; ")
        found.append(Diagnosis("files", Health.WRONG, what, remedy))
    if len(found) > SHOWN:
        more = Diagnosis("files", Health.WRONG, f"{len(found) - SHOWN} more faults like these", "as above")
        found = [*found[:SHOWN], more]
    said = "every byte can be read" if deep else "sizes as the tables' logs say; `--bytes` reads them"
    return found or [Diagnosis("files", Health.OK, said)]


def _channels(settings: Settings) -> Diagnosis:
    """What robots read says what the releases table says, and will for some days."""
    if not open_location(settings.lake).exists("tables", "releases", "_delta_log"):
        return Diagnosis(
            "channels", Health.ABSENT, settings.releases, "`lwd policy publish` releases a policy"
        )
    lake, trusted, now_ns = Lake.open(settings.lake), trusted_keys(settings.keys), time.time_ns()
    held = {channel: recorded(lake, channel) for channel in Channel}
    wrong = [disagreement(lake, settings.releases, channel, trusted, now_ns) for channel in Channel]
    faults = [problem for problem in wrong if problem]
    if faults:
        return Diagnosis("channels", Health.WRONG, "; ".join(faults), "see `lwd policy status`")
    said = [f"{channel} until {release.expires}" for channel, release in held.items() if release]
    if not said:
        return Diagnosis(
            "channels", Health.ABSENT, settings.releases, "`lwd policy publish` releases a policy"
        )
    return Diagnosis("channels", Health.OK, ", ".join(said))


def _quarantine(settings: Settings) -> Diagnosis:
    """Logs that could not be read: nothing of the installation is wrong, but somebody should look."""
    if not open_location(settings.lake).exists("tables", "logs", "_delta_log"):
        return Diagnosis("quarantine", Health.ABSENT, "no lake yet", "`lwd ingest` makes one")
    count, newest = quarantine(Lake.open(settings.lake))
    if not count:
        return Diagnosis("quarantine", Health.OK, "no log")
    uri, reason = newest[0]
    found = f"{count} {'log' if count == 1 else 'logs'}, the newest {uri}: {reason}"
    remedy = "`lwd logs --state quarantined`; after a mend `lwd logs retry`"
    return Diagnosis("quarantine", Health.OK, found, remedy)


def _recordings(settings: Settings) -> Diagnosis:
    """Episodes that came several ways count once; somebody may want to know."""
    if not open_location(settings.lake).exists("tables", "episodes", "_delta_log"):
        return Diagnosis("recordings", Health.ABSENT, "no lake", "`lwd init` or `lwd ingest` makes one")
    copies = Lake.open(settings.lake).sql(DUPLICATES).num_rows
    found = (
        f"{copies} episodes are the recording of another (`lwd logs same`)"
        if copies
        else "each is one episode"
    )
    return Diagnosis("recordings", Health.OK, found)


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


CHECKS: dict[str, Callable[[Settings], Diagnosis | list[Diagnosis]]] = {
    "versions": _versions,
    "packages": _packages,
    "plugins": _plugins,
    "simulator": _simulator,
    "rendering": _rendering,
    "viewer": _viewer,
    "disk": _disk,
    "places": _places,
    "lake": _lake,
    "files": _files,
    "quarantine": _quarantine,
    "recordings": _recordings,
    "embodiments": _embodiments,
    "keys": _keys,
    "channels": _channels,
}
