"""Where checks and labels come from: the platform's own, packages', ``module:name``, a ``FILE.py``."""

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from lwd_core.errors import UserError
from lwd_core.labels.function import NAME, NAMED, FunctionLabeller
from lwd_core.labels.labeller import Labeller
from lwd_core.plugins import Door, PluginError, theirs
from storage_schemas.tables import PERSON
from storage_schemas.vocabulary import LabelKind


def _sound(name: str, labeller: Labeller) -> None:
    """What a package installs under a name calls itself so, and is the only check or label of it."""
    if all(name in {*door.others(), *door.clashes()} for door in (LABELS, CHECKS)):
        raise PluginError("there is a check and a label of that name; rename one's entry point")
    if layer_name(_allowed(labeller, name).layer_id) != name:
        raise PluginError(
            f"it calls itself {layer_name(labeller.layer_id)}; give its entry point the same name"
        )
    if not NAME.fullmatch(name):
        raise PluginError(NAMED)
    if labeller.kind not in set(LabelKind):
        raise PluginError(f"its kind {labeller.kind!r} is none of {', '.join(LabelKind)}")


_NEEDS = ("layer_id", "kind", "source_digest", "description", "label")
LABELS: Door[Labeller] = Door(
    "lwd.labels",
    {
        "reward.sparse": "lwd_core.labels.reward:SPARSE_REWARD",
        "outcome.recorded": "lwd_core.labels.outcome:RECORDED_OUTCOME",
    },
    _NEEDS,
    "label",
    _sound,
)
CHECKS: Door[Labeller] = Door(
    "lwd.checks",
    {
        "quality": "lwd_core.labels.quality:QUALITY",
        "pictures": "lwd_core.labels.pictures:PICTURES",
    },
    _NEEDS,
    "check",
    _sound,
)
OWN = frozenset([*LABELS.own, *CHECKS.own])
#: Layers that critics of training runs say are named so.
VALUES = "value."


@dataclass(frozen=True)
class Broken:
    """A check or label that is installed and can't be used, and why."""

    name: str
    reason: str


def layer_name(layer_id: str) -> str:
    """The name in ``name@version``."""
    return layer_id.partition("@")[0]


def derived(layer_id: str, source_digest: str | None) -> bool:
    """Whether a layer was computed from an episode's rows, so that other rows need other labels."""
    name = layer_name(layer_id)
    return source_digest is not None or name in OWN or name.startswith(VALUES)


def installed() -> list[Labeller | Broken]:
    """What other packages have installed; what can't be used is told, and the others are there."""
    found: dict[str, Labeller | Broken] = {}
    for door in (LABELS, CHECKS):
        found |= {name: Broken(name, reason) for name, reason in door.clashes().items()}
        for name in door.others():
            try:
                found[name] = door.get(name, addresses=False)
            except UserError as error:
                found[name] = Broken(name, str(error))
    return list(found.values())


def own() -> list[Labeller]:
    """The platform's, in the order they run."""
    return [door.get(name, addresses=False) for door in (LABELS, CHECKS) for name in door.own]


def find(what: str) -> list[Labeller]:
    """The labellers of a name, ``name@version``, ``module:name``, ``FILE.py`` or ``FILE.py:name``.

    Raises `UserError`.
    """
    file, _, name = what.rpartition(":") if what.rpartition(":")[0].endswith(".py") else (what, "", "")
    if file.endswith(".py"):
        return _of_file(Path(file), name)
    if what in LABELS.own or what in CHECKS.own:
        return [(LABELS if what in LABELS.own else CHECKS).get(what)]
    for door in (LABELS, CHECKS):
        if what in door.others() or what in door.clashes():
            return [door.get(what, addresses=False)]
    if ":" in what:
        return [_allowed(LABELS.get(what), what)]
    bare, at, _ = what.rpartition("@")
    if at:
        named = find(bare)
        if [one.layer_id for one in named] == [what]:
            return named
    there = ", ".join([*LABELS.names(), *CHECKS.names()])
    raise UserError(
        f"{what}: no check or label of that name; there are {there}. Another one is a FILE.py, module:name, "
        "or installed by a package with the entry point lwd.checks or lwd.labels"
    )


def _allowed(labeller: Labeller, where: str) -> Labeller:
    name = layer_name(labeller.layer_id)
    if (name in OWN or name.startswith((VALUES, PERSON))) and labeller not in own():
        raise PluginError(f"{where}: {name} is a layer of the platform's own; choose another name")
    return labeller


def _of_file(path: Path, name: str) -> list[Labeller]:
    module = _loaded(path)
    found: dict[str, Labeller] = {}
    for member in vars(module).values():
        if isinstance(member, FunctionLabeller) and member.function.__module__ == module.__name__:
            if member.name in found and member is not found[member.name]:
                raise UserError(f"{path}: {member.name} is there twice; rename one")
            found[member.name] = _allowed(member, str(path))
    if not found:
        raise UserError(f"{path}: no check or label there; put @label(name, version=1) over a function")
    if name and name not in found:
        raise UserError(f"{path}: no check or label {name}; there are {', '.join(found)}")
    return [found[name]] if name else list(found.values())


def _loaded(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    # a name of its own, so that no file stands for another or for an installed module
    name = f"lwd_label_file_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.absolute().parent))  # what lies beside it may be imported, as in a script
    try:
        with theirs():
            spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:  # whatever a user's file raises
        raise UserError(f"{path}: can't be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.absolute().parent))
    return module


def chosen(names: Sequence[str]) -> tuple[list[Labeller], list[Broken]]:
    """The labellers that these names mean, each once; of none all there are, and what is broken.

    Raises `UserError` for a name that means none.
    """
    found = [one for name in names for one in find(name)] if names else [*own(), *installed()]
    labellers = {one.layer_id: one for one in found if not isinstance(one, Broken)}
    return list(labellers.values()), [one for one in found if isinstance(one, Broken)]
