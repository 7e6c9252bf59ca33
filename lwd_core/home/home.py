"""A home in Python: the lake with the places beside it, and what one does there with several rooms at once.

Belongs here: which rooms a wish goes through. Does not belong here: how any of it is done.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.extras import require
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments, parse_embodiment
from lwd_core.settings import Settings
from lwd_core.storage.location import Location, open_location
from storage_schemas.embodiment import Embodiment

# each is loaded by the method that needs it: a query needs no torch, and neither does a robot
if TYPE_CHECKING:
    from lwd_core.ingest.commit import IngestResult
    from lwd_core.labels.labeller import Labeller, LayerRun
    from lwd_core.labels.people import LabelsSet, PersonLabel
    from lwd_core.loader.training_set import TrainingSet
    from lwd_core.policies.inference import Policy
    from lwd_core.snapshots.spec import SnapshotSpec
    from lwd_core.training.config import TrainConfig
    from lwd_core.training.reporters import Reporter
    from lwd_core.training.run import TrainResult

Place = str | os.PathLike[str]

#: What a label of `Home.say` is made of.
_SAID = ("episode_id", "by", "kind", "text", "detail", "from_s", "to_s", "at_ns")
#: What of a `Lake` the API page has; the rest is for the rooms that write one.
ASKED = ("sql", "read", "episodes", "episode", "labels", "versions", "versions_at")


class Home(Lake):
    """An episode lake with the places beside it: logs, embodiments, snapshots, runs and policies.

    A `Lake` in every respect, so it goes wherever one does; ``settings`` says where the rest lies. Get one
    with `lwd.open`.
    """

    def __init__(self, place: Location, settings: Settings | None = None) -> None:
        super().__init__(place)
        self.settings = settings or Settings(lake=place.root)

    def __dir__(self) -> list[str]:
        """What is documented: a notebook completes by it."""
        return [*(name for name in vars(Home) if name[0] != "_"), *ASKED, "root", "settings"]

    # logs

    @property
    def embodiments(self) -> dict[str, Embodiment]:
        """The robot types there are files of, by name."""
        return load_embodiments(self.settings.embodiments)

    def add_embodiment(self, text: str) -> Embodiment:
        """Keep the text of an embodiment file. Raises `UserError` where another file has its name."""
        embodiment = parse_embodiment(text)
        place, name = open_location(self.settings.embodiments), f"{embodiment.name}.yaml"
        if place.exists(name) and place.read(name) != text.encode():
            raise UserError(
                f"{place.path(name)}: is there already and says otherwise; edit it, or take another name"
            )
        with place.write(name) as file:
            file.write(text.encode())
        return embodiment

    def ingest(
        self,
        *logs: Place,
        site: str | None = None,
        robot: str | None = None,
        day: str | None = None,
        workers: int = 1,
    ) -> "IngestResult":
        """Take raw logs in, each once: files, folders or buckets; by default what lies in the landing zone.

        ``site``, ``robot`` and ``day`` (YYYY-MM-DD) say where logs are from that don't say it themselves.
        The result says what became of each; damaged logs are kept aside, with the reason. Raises `UserError`
        where there is no log, or no embodiment file to read it by.
        """
        from lwd_core.ingest.commit import ingest
        from lwd_core.ingest.landing import Origin

        embodiments = self.embodiments
        if not embodiments:
            raise UserError(
                f"{self.settings.embodiments}: no embodiment file there; `lwd.draft_embodiment(log)` "
                "drafts one, `add_embodiment` keeps it"
            )
        paths = [os.fspath(log) for log in logs] or [self.settings.landing]
        result = ingest(
            self, self.settings, paths, embodiments=embodiments, now_ns=time.time_ns(), workers=workers,
            origin=Origin(site, day, robot),
        )  # fmt: skip
        if logs and not result.met:
            raise UserError(f"{', '.join(paths)}: no log there; give files or folders of logs")
        return result

    # labels

    def label(
        self, *labellers: "Labeller | str", where: str | None = None, params: Sequence[Any] = ()
    ) -> "list[LayerRun]":
        """Let checks and labels say what they think of the episodes they have not been asked about.

        Functions decorated by `lwd.label` or `lwd.check`, or names: the platform's own, an installed
        package's, ``module:name``, a ``FILE.py``; by default all of the platform's. ``where`` is SQL over
        ``episodes``.
        Episodes a function fails on are in the result's ``failed``, with the reason. Raises `UserError` for
        what is no labeller, and for one that changed since it made its layer.
        """
        from lwd_core.labels import registry
        from lwd_core.labels.labeller import run_labellers

        chosen: list[Labeller] = []
        for what in labellers:
            if not isinstance(what, str) and not hasattr(what, "layer_id"):
                raise UserError(
                    f"{what!r}: no check or label; put @lwd.label(name, version=1) over the function"
                )
            chosen += registry.find(what) if isinstance(what, str) else [what]
        return run_labellers(
            self, chosen or registry.own(), now_ns=time.time_ns(), embodiments=self.embodiments, where=where,
            params=tuple(params),
        )  # fmt: skip

    def write_labels(self, layer: str, kind: str, rows: Any) -> "LayerRun":
        """Add rows of one's own to a label layer, ``name@version``.

        ``rows``: an Arrow, Polars or pandas table, a dict of columns or a list of dicts, with ``episode_id``
        and any of step, last_step, check, value, text, detail. ``kind``: reward, outcome, progress, phase,
        quality or annotation.
        Episodes that are in the layer already are left alone. Raises `UserError` for what can't be a label.
        """
        from lwd_core.labels.written import write_layer

        table = pa.Table.from_pylist(rows) if isinstance(rows, list) else pa.table(rows)
        return write_layer(self, layer, kind, table, now_ns=time.time_ns())

    def say(self, labels: "Sequence[PersonLabel | Mapping[str, Any]]") -> "LabelsSet":
        """Keep what people say of episodes, all of it in one commit; the same again changes nothing.

        Each has ``episode_id``, ``by`` (a name in small letters), ``kind`` (``outcome``, ``stage``, ``note``)
        and ``text``: success, failure or unknown of an outcome, else words; None takes back what they said.
        Optional are ``detail`` (why), ``from_s`` and ``to_s`` (of a note, seconds since the first step) and
        ``at_ns`` (when it was said). Raises `UserError` for what can't be said.
        """
        from lwd_core.labels.people import PersonLabel, set_labels

        try:
            said = [label if isinstance(label, PersonLabel) else PersonLabel(**label) for label in labels]
        except TypeError as error:
            raise UserError(f"labels: {error}; each is a mapping of {', '.join(_SAID)}") from error
        return set_labels(self, said, now_ns=time.time_ns())

    def queue(
        self, name: str, *, by: str = "", limit: int = 50, where: str = "true", since: str = ""
    ) -> pa.Table:
        """The next episodes a person should look at, with ``why``, and how many ``wait`` in all.

        ``name``: failures, unlabelled, doubts, agreement (needs ``by``) or contested; ``by`` is for whom,
        ``where`` SQL over ``episodes``, ``since`` their first day. Raises `UserError` for no such queue.
        """
        from lwd_core.labels.queues import queue

        return queue(self, name, by=by, limit=limit, where=where, since=since)

    # snapshots and training

    def snapshot(self, spec: "Mapping[str, Any] | SnapshotSpec | Place") -> "TrainingSet":
        """The snapshot of a spec, built where it isn't yet; or one that is there.

        ``spec``: a mapping of the spec's fields, a `SnapshotSpec`, or its YAML file; any other text is the
        digest of a snapshot, or its beginning. The same spec on the same lake is the same snapshot. Raises
        `UserError` for a wrong field, where no episode fits, or where there is no such snapshot.
        """
        from lwd_core.loader.training_set import TrainingSet
        from lwd_core.snapshots.build import build_snapshot
        from lwd_core.snapshots.spec import SnapshotSpec

        root = self.settings.snapshots
        if isinstance(spec, str) and not spec.endswith((".yaml", ".yml")):
            return TrainingSet.open(root, spec)
        if isinstance(spec, Mapping):
            spec = SnapshotSpec.parse(dict(spec))
        elif not isinstance(spec, SnapshotSpec):
            spec = SnapshotSpec.from_yaml(os.fspath(spec))
        built = build_snapshot(self, spec, root, now_ns=time.time_ns())
        return TrainingSet(built.place, built.digest, built.manifest)

    def train(
        self, config: "Mapping[str, Any] | TrainConfig | Place", *, reporter: "Reporter | None" = None
    ) -> "TrainResult":
        """Run one stage to its end, from where an earlier attempt left it; a finished run is not run again.

        ``config``: a mapping of the fields of `TrainConfig`, one of these, or its file. ``reporter`` hears of
        the metrics, ``reporter.log(update, metrics)``. Raises `UserError` for wrong input.
        """
        require("torch")
        from lwd_core.training.config import TrainConfig
        from lwd_core.training.reporters import Several
        from lwd_core.training.run import train

        if isinstance(config, Mapping):
            config = TrainConfig.parse(config)
        elif not isinstance(config, TrainConfig):
            config = TrainConfig.load(os.fspath(config))
        return train(config, reporter or Several([]), self.settings)

    # policies

    def policy_of(self, run: str) -> "Policy":
        """The policy a training run holds, signed by this home's key and entered; again, it changes nothing.

        ``run``: a run's name, or a checkpoint's address. Raises `UserError` where there is none.
        """
        require("torch")
        from lwd_core.policies.keys import signing_key
        from lwd_core.policies.registry import register
        from lwd_core.training.export import export_policy, parent_of
        from lwd_core.training.run import find_checkpoint

        checkpoint = find_checkpoint(self.settings.checkpoints, run)
        key = signing_key(self.settings.keys)
        bundle = export_policy(checkpoint, self.settings.policies, key, parent=parent_of(self, checkpoint))
        register(self, bundle, now_ns=time.time_ns())
        return self.policy(bundle.policy_id)

    def policy(self, name: str) -> "Policy":
        """A policy by id, the beginning of one, or the channel that holds it (production, canary), verified.

        Raises `UserError` where there is none, or it is not signed by a key this home trusts.
        """
        require("torch")
        from lwd_core.policies.inference import Policy
        from lwd_core.policies.registry import address, find
        from lwd_core.policies.release import recorded
        from storage_schemas.vocabulary import Channel

        if name in tuple(Channel):
            held = recorded(self, Channel(name))
            if held is None:
                raise UserError(f"channel {name}: empty; `lwd policy publish` puts a policy there")
            name = held.policy_id
        return Policy.load(address(self.settings.policies, find(self, name)), self.settings.keys)
