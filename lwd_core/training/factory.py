"""What a run is made of: networks, learner and frames, from its configuration and what it starts from."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from lwd_core.errors import UserError
from lwd_core.features.extractor import with_digest
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.rl.chosen import Chosen, plain
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.fields import FieldKind
from lwd_core.rl.learners import Trained
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig, algorithm_of
from lwd_core.training.data import Data, Film
from storage_schemas.snapshot import Manifest


def new_learner(config: TrainConfig, data: Data, start: Checkpoint | None, settings: Settings) -> Trained:
    """The stage's learner, around a new policy or that of ``start``, going on from what the same algorithm
    left there. UserError if the policy does not fit the data."""
    policy = (
        _new_policy(config, data, settings.embodiments)
        if start is None
        else policy_of(start, config.network.field)
    )
    if start is not None:
        _fits(config, policy, data)
    nowhere = torch.zeros(1, policy.config.field.encoder.state_dim)
    for text in data.instructions:  # one that can't be told is refused now, not at the batch that draws it
        policy.normaliser.prompt([text], nowhere)
    learner = config.algorithm.made.learner(policy, config.critic)
    if start is not None and algorithm_of(start.about["config"]) == config.algorithm.kind:
        learner.go_on(start.state["learner"])
    return learner


def _new_policy(config: TrainConfig, data: Data, embodiments: str) -> FlowPolicy:
    net = config.network
    places = net.field.made.places(lambda: _dims(data, embodiments)) if net.field else None
    measured = data.measured(places or {})
    encoder = EncoderConfig(
        len(measured.state["mean"]),
        instruction_features=net.instruction_features,
        vision=data.vision if net.field else with_digest(net.vision),
        backbone=net.backbone,
    )
    field = FieldConfig(encoder, len(measured.low), data.chunk, net.hidden, net.layers, net.field, net.spread)
    policy = PolicyConfig(field, net.steps)
    return net.field.made.policy(policy, measured) if net.field else FlowPolicy(policy, data.normaliser())


def _dims(data: Data, folder: str) -> dict[str, tuple[list[str], list[str]]]:
    """Names of states and actions of the data's embodiments that have a file in a folder."""
    files, names = load_embodiments(folder), list(data.embodiments())
    if missing := [name for name in names if name not in files]:
        raise UserError(
            f"network.field.state: numbers find their places by name, and {folder} has no file of embodiment "
            f"{missing[0]}; put it there"
        )
    return {
        name: ([d.name for d in files[name].state_dims], [d.name for d in files[name].action_dims])
        for name in names
    }


def policy_of(checkpoint: Checkpoint, asked: Chosen[FieldKind] | None = None) -> FlowPolicy:
    """The policy a checkpoint holds, as the field that is asked for goes on with it. UserError if that is
    another one, or its network's backbone is not installed."""
    policy = FlowPolicy(_network(checkpoint, asked))
    policy.load_state_dict(checkpoint.state["learner"]["modules"]["policy"])
    return policy


def _network(checkpoint: Checkpoint, asked: Chosen[FieldKind] | None = None) -> PolicyConfig:
    try:
        found = PolicyConfig.from_dict(checkpoint.about["network"])
    except ValueError as error:
        raise UserError(f"{checkpoint.uri}: {error}") from error
    if asked is None:
        return found
    has = found.field.kind
    made = None if has is None else has.made.going_on(asked.made)
    if has is None or made is None:
        raise UserError(
            f"network.field: the policy of {checkpoint.uri} is another one; leave it out, or begin with "
            "stage sft"
        )
    return replace(found, field=replace(found.field, kind=replace(has, made=made)))


def require_same(newest: Checkpoint, policy: FlowPolicy) -> None:
    """UserError where a run's own checkpoint is of another network than it would go on with: its
    configuration names files, and these may be others by now."""
    was, now = _network(newest), policy.config
    has, own = was.field.kind, now.field.kind
    made = has and own and has.made.going_on(own.made)  # a base may lie elsewhere
    if has and made:
        was = replace(was, field=replace(was.field, kind=replace(has, made=made)))
    unlike = _unlike(was.to_dict(), now.to_dict(), "network")
    if unlike:
        raise UserError(
            f"{newest.uri}: left off with another network than this would be ({unlike}): files it is made "
            "from have changed; put them back, or give the run another name"
        )


def _unlike(one: Any, two: Any, where: str) -> str:
    """The first place at which plain values differ; empty where none."""
    if not isinstance(one, dict) or not isinstance(two, dict):
        return "" if one == two else where
    both = cast("tuple[dict[str, Any], dict[str, Any]]", (one, two))
    names = sorted({*both[0], *both[1]})
    found = (_unlike(both[0].get(name), both[1].get(name), f"{where}.{name}") for name in names)
    return next(filter(None, found), "")


def film_of(
    config: TrainConfig, start: Checkpoint | None, settings: Settings, snapshots: Sequence[Snapshot] = ()
) -> Film | None:
    """The frames a run's networks take: as configured, or as the policy it starts from does; a field trained
    elsewhere takes those of ``snapshots`` as they are.

    UserError where the two contradict each other.
    """
    asked, own = config.network.vision, config.network.field
    if start is None:
        vision = asked if own is None else own.made.sees(_sizes(snapshots))
    else:
        vision = _network(start, own).field.encoder.vision
    if asked is not None and asked != (vision and replace(vision, seen_by=asked.seen_by)):
        raise UserError(
            f"network.vision: run {config.run} starts from {config.init}, which sees by "
            f"{json.dumps(plain(vision)) if vision else 'no camera'}; leave it out, or begin with stage sft"
        )
    return vision and Film(vision, open_location(settings.lake))


def _sizes(snapshots: Sequence[Snapshot]) -> dict[tuple[str, str], tuple[int, int]]:
    """Height and width of each embodiment's and camera's pictures."""
    shown = (at for snapshot in snapshots for at in snapshot.frame_sizes.items())
    return {(name, camera): size for name, cameras in shown for camera, size in cameras.items()}


def _fits(config: TrainConfig, policy: FlowPolicy, data: Data) -> None:
    have, need = widths(policy, data.snapshots[0].manifest)
    have, need = (*have, policy.config.field.chunk), (*need, data.chunk)
    if have != need:
        raise UserError(
            f"run {config.run}: init {config.init} takes (state, action, chunk) of {have}, "
            f"the snapshot gives {need}"
        )


def widths(policy: FlowPolicy, manifest: Manifest) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Of (state, action) as a policy takes them and as a snapshot has them; of every embodiment, where each
    one's numbers have places of their own."""
    places = policy.normaliser.places
    if not places:
        field = policy.config.field
        return (field.encoder.state_dim, field.action_dim), (manifest.state_width, manifest.action_width)
    need = {m.embodiment: (m.state_width, m.action_width) for m in manifest.episodes}
    have = {name: (len(own.state), len(own.action)) for name, own in places.items() if name in need}
    return tuple(sorted(have.items())), tuple(sorted(need.items()))
