"""Doors for others: what a package adds is found by its entry points, or named as ``module:attribute``.

A kind of plug-in (readers, labels, robots, …) is one `Door`. Its own members are written as addresses, so
nothing is imported before it is asked for; those of other packages stand in their metadata:

    [project.entry-points."lwd.readers"]
    acme = "acme_logs.reader:AcmeReader"
"""

import importlib
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, Generic, TypeVar

from lwd_core.errors import UserError, did_you_mean, suggest
from lwd_core.extras import missing_extra

T = TypeVar("T")

#: Every door by its group; none is imported before something asks for it.
DOORS = {
    "lwd.readers": "lwd_core.logs.read:READERS",
    "lwd.labels": "lwd_core.labels.registry:LABELS",
    "lwd.checks": "lwd_core.labels.registry:CHECKS",
    "lwd.extractions": "lwd_core.rl.extraction:EXTRACTIONS",
    "lwd.learners": "lwd_core.rl.learners:LEARNERS",
    "lwd.backbones": "lwd_core.rl.encoders:BACKBONES",
    "lwd.fields": "lwd_core.rl.fields:FIELDS",
    "lwd.eyes": "lwd_core.rl.encoders:EYES",
    "lwd.robots": "lwd_core.fleet.workcells:ROBOTS",
    "lwd.controls": "lwd_core.fleet.devices:CONTROLS",
    "lwd.referees": "lwd_core.fleet.devices:REFEREES",
    "lwd.exporters": "lwd_core.exports.export:EXPORTERS",
    "lwd.reporters": "lwd_core.training.reporting:REPORTERS",
    "lwd.commands": "lwd_core.cli.main:OTHERS",
}


class PluginError(UserError):
    """A plug-in that is not there, can't be imported, or isn't what its door asks for."""


@dataclass(frozen=True)
class Door(Generic[T]):
    """One kind of plug-in.

    ``group``: the entry points it is found by. ``own``: the platform's members, name to ``module:attribute``.
    ``needs``: attributes each member must have, so that a wrong object is named when it is loaded.
    ``sound``: raises `PluginError` where one that is installed under a name isn't what it says.

    A name is one package's. Nobody takes the platform's; where two others claim one, neither has it, see
    `clashes`. All else stays as it is, so that no package closes a door for the rest.
    """

    group: str
    own: Mapping[str, str]
    needs: tuple[str, ...] = ()
    kind: str = field(default="plug-in")
    sound: Callable[[str, T], None] | None = None

    def names(self) -> list[str]:
        """The platform's own in their order, then those of other packages by name."""
        return [*self.own, *self.others()]

    def others(self) -> list[str]:
        """Those of other packages by name."""
        return sorted(self._found.points)

    def clashes(self) -> dict[str, str]:
        """Names that more than one package claims, the platform among them, and what to do."""
        return dict(self._found.clashes)

    def package(self, name: str) -> str:
        """Name and version of the package that brings a member, as installed: ``acme-logs 1.2``."""
        if name in self.own:
            return f"lwd {version('lwd')}"
        others = self._found.points
        return _package(others[name]) if name in others else name.partition(":")[0]

    def module(self, name: str) -> str:
        """The module that a member of another package, or an address, lies in."""
        return (self.address(name) or name).partition(":")[0]

    def address(self, name: str) -> str | None:
        """Where the member of that name lies, as ``module:attribute``; None where there is none."""
        if name in self.own:
            return self.own[name]
        point = self._found.points.get(name)
        return point.value if point else None

    def get(self, name: str, *, addresses: bool = True) -> T:
        """The member of that name, or what ``module:attribute`` names.

        ``addresses=False`` where the name comes from outside (a policy's manifest): then only what is
        installed under a name is imported. Raises `PluginError`.
        """
        if name in self.own:
            return self._load(name, self.own[name])
        if name in self._found.points:
            return self._load(name, self._found.points[name].value, self.sound)
        if name in self._found.clashes:
            raise PluginError(self._found.clashes[name])
        if addresses and ":" in name:
            return self._load(name, name)
        raise PluginError(
            f"{name}: no {self.kind} of that name{did_you_mean(name, self.names()) or '.'} "
            f"There are {', '.join(self.names()) or 'none'}; another one is installed as a package with the "
            f"entry point {self.group}" + (", or named as module:attribute" if addresses else "")
        )

    def made(self, name: str, /, **given: Any) -> Any:
        """What the member of that name makes of what is given. Raises `PluginError`."""
        maker: Any = self.get(name)
        try:
            with theirs():
                return maker(**given)
        except UserError:
            raise
        except Exception as e:  # whatever a stranger's class raises
            raise PluginError(f"{self.kind} {name} can't be made: {type(e).__name__}: {e}") from e

    def all(self) -> Iterator[tuple[str, T]]:
        """Every member with its name. Raises `PluginError` at one that can't be loaded."""
        for name in self.names():
            yield name, self.get(name, addresses=False)

    @property
    def _found(self) -> "_Found":
        return _others(self.group, frozenset(self.own))

    def _load(self, name: str, address: str, sound: Callable[[str, T], None] | None = None) -> Any:
        module, _, attribute = address.partition(":")
        what = f"{self.kind} {name}"
        if name != address:
            what += f" ({address} of {self.package(name)})"
        try:
            with theirs():
                found: Any = importlib.import_module(module)
                for part in attribute.split("."):
                    found = getattr(found, part)
                missing = [need for need in self.needs if not hasattr(found, need)]
                if sound and not missing:
                    sound(name, found)
        except PluginError as e:
            raise PluginError(f"{what}: {e}") from e
        except Exception as e:  # whatever a stranger's module raises
            if isinstance(e, ImportError) and (extra := missing_extra(e)):
                raise extra from e
            remedy = "; mend or uninstall it" if name != address else ""
            raise PluginError(f"{what} can't be imported: {type(e).__name__}: {e}{remedy}") from e
        if missing:
            raise PluginError(f"{what} has no {', '.join(missing)}")
        return found


@contextmanager
def theirs() -> Generator[None, None, None]:
    """Where another's code runs: what it prints goes to stderr, as stdout is a command's answer, and it can't
    end the process: RuntimeError in place of `SystemExit`."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SystemExit as e:
        raise RuntimeError(f"it asked to end the process ({e.code})") from e


@dataclass(frozen=True)
class _Found:
    points: Mapping[str, EntryPoint]
    clashes: Mapping[str, str]


@cache
def _others(group: str, taken: frozenset[str]) -> _Found:
    """Entry points of other packages by name, and what is said of names that several have."""
    claims: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=group):
        claims.setdefault(point.name, {}).setdefault(point.value, point)
    points: dict[str, EntryPoint] = {}
    clashes: dict[str, str] = {}
    for name, by_value in claims.items():
        holders = ["lwd"] * (name in taken) + [_package(point) for point in by_value.values()]
        ours = [point for point in by_value.values() if point.dist and point.dist.name == "lwd"]
        if ours or len(holders) == 1:
            points[name] = next(iter(ours or by_value.values()))
        if len(holders) > 1:
            clashes[name] = (
                f"{group} {name}: both {' and '.join(holders)} have one of that name; "
                "uninstall one or rename its entry point"
            )
    return _Found(points, clashes)


def others() -> tuple[list[str], list[str]]:
    """What other packages add, a line each, and what of it can't be used, with the reason."""
    there: list[str] = []
    broken: list[str] = []
    for group in sorted(group for group in entry_points().groups if group.startswith("lwd.")):
        if group not in DOORS:
            whose = ", ".join(sorted({_package(point) for point in entry_points(group=group)}))
            broken.append(f"{group} of {whose}: no such door{suggest(group, DOORS)}")
            continue
        module, _, attribute = DOORS[group].partition(":")
        try:
            door: Door[Any] = getattr(importlib.import_module(module), attribute)
        except ImportError as error:  # of an extra that isn't installed
            broken.append(f"{group}: {missing_extra(error) or error}")
            continue
        broken += door.clashes().values()
        for name in door.others():
            if door.package(name) == f"lwd {version('lwd')}":
                continue
            try:
                door.get(name, addresses=False)
                there.append(f"{door.kind} {name} of {door.package(name)}")
            except UserError as error:
                broken.append(str(error))
    return there, broken


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
