"""Doors for others: what a package adds is found by its entry points, or named as ``module:attribute``.

A kind of plug-in (readers, labels, robots, …) is one `Door`. Its own members are written as addresses, so
nothing is imported before it is asked for; those of other packages stand in their metadata:

    [project.entry-points."lwd.readers"]
    acme = "acme_logs.reader:AcmeReader"
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, distributions, entry_points, version
from typing import Any, Generic, TypeVar

from lwd_core.errors import UserError, did_you_mean
from lwd_core.extras import missing_extra

T = TypeVar("T")


class PluginError(UserError):
    """A plug-in that is not there, can't be imported, or isn't what its door asks for."""


@dataclass(frozen=True)
class Door(Generic[T]):
    """One kind of plug-in.

    ``group``: the entry points it is found by. ``own``: the platform's members, name to ``module:attribute``.
    ``needs``: attributes each member must have, so that a wrong object is named when it is loaded.
    """

    group: str
    own: Mapping[str, str]
    needs: tuple[str, ...] = ()
    kind: str = field(default="plug-in")

    def names(self) -> list[str]:
        """The platform's own in their order, then those of other packages by name."""
        return [*self.own, *self.others()]

    def others(self) -> list[str]:
        """Those of other packages by name."""
        return sorted(_others(self.group, frozenset(self.own)))

    def package(self, name: str) -> str:
        """Name and version of the package that brings a member, as installed: ``acme-logs 1.2``."""
        if name in self.own:
            return f"lwd {version('lwd')}"
        others = _others(self.group, frozenset(self.own))
        return _package(others[name]) if name in others else name.partition(":")[0]

    def module(self, name: str) -> str:
        """The module that a member of another package, or an address, lies in."""
        return (self.address(name) or name).partition(":")[0]

    def address(self, name: str) -> str | None:
        """Where the member of that name lies, as ``module:attribute``; None where there is none."""
        if name in self.own:
            return self.own[name]
        point = _others(self.group, frozenset(self.own)).get(name)
        return point.value if point else None

    def get(self, name: str, *, addresses: bool = True) -> T:
        """The member of that name, or what ``module:attribute`` names.

        ``addresses=False`` where the name comes from outside (a policy's manifest): then only what is
        installed under a name is imported. Raises `PluginError`.
        """
        if name in self.own:
            return self._load(name, self.own[name])
        others = _others(self.group, frozenset(self.own))
        if name in others:
            return self._load(name, others[name].value)
        if addresses and ":" in name:
            return self._load(name, name)
        raise PluginError(
            f"{name}: no {self.kind} of that name{did_you_mean(name, self.names()) or '.'} "
            f"There are {', '.join(self.names()) or 'none'}; another one is installed as a package with the "
            f"entry point {self.group}" + (", or named as module:attribute" if addresses else "")
        )

    def all(self) -> Iterator[tuple[str, T]]:
        """Every member with its name. Raises `PluginError` at one that can't be loaded."""
        for name in self.names():
            yield name, self.get(name, addresses=False)

    def _load(self, name: str, address: str) -> Any:
        module, _, attribute = address.partition(":")
        try:
            with theirs():
                found: Any = importlib.import_module(module)
                for part in attribute.split("."):
                    found = getattr(found, part)
        except Exception as e:  # whatever a stranger's module raises
            if isinstance(e, ImportError) and (missing := missing_extra(e)):
                raise missing from e
            raise PluginError(
                f"{self.kind} {name} ({address} of {self.package(name)}) can't be imported: "
                f"{type(e).__name__}: {e}; mend or uninstall it"
            ) from e
        missing = [need for need in self.needs if not hasattr(found, need)]
        if missing:
            raise PluginError(
                f"{self.kind} {name} ({address} of {self.package(name)}) has no {', '.join(missing)}"
            )
        return found


@contextmanager
def theirs() -> Iterator[None]:
    """Where another's code runs: what it prints goes to stderr, as stdout is a command's answer, and it can't
    end the process: RuntimeError in place of `SystemExit`."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SystemExit as e:
        raise RuntimeError(f"it asked to end the process ({e.code})") from e


def installed() -> list[tuple[str, str, str]]:
    """Door, name and package of everything other packages add, whether or not it can be loaded."""
    points = (point for package in distributions() for point in package.entry_points)
    others = (p for p in points if p.group.startswith("lwd.") and (p.dist is None or p.dist.name != "lwd"))
    return sorted((point.group, point.name, _package(point)) for point in others)


@cache
def _others(group: str, taken: frozenset[str]) -> dict[str, EntryPoint]:
    """Entry points by name. Raises `PluginError` for a name that is taken."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        if point.name in taken or (point.name in found and found[point.name].value != point.value):
            holder = "lwd" if point.name in taken else _package(found[point.name])
            raise PluginError(
                f"{group} {point.name}: both {holder} and {_package(point)} have one of that name; "
                "uninstall one or rename its entry point"
            )
        found[point.name] = point
    return found


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
