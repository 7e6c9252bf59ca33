"""A policy as a robot runs it: a verified bundle, numpy in and numpy out."""

import os
import shutil
import uuid
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from torch import Tensor

from lwd_core.errors import UserError, suggest
from lwd_core.features.extractor import extractor_of
from lwd_core.policies.bases import base_named, local_base, publish_base
from lwd_core.policies.bundle import BadBundle, Bundle, load_bundle, save_bundle
from lwd_core.policies.inputs import Randomness, Shown, drawn, numbers, sayings
from lwd_core.policies.keys import keys_of
from lwd_core.policies.pixels import BLIND, pixels, sizes_of
from lwd_core.policies.widths import Widths
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from storage_schemas.policy import Lineage, PolicyManifest

#: Weights of the network and embeddings of known instructions share one file; this parts them.
_EMBEDDINGS = "instructions.embeddings"
#: Texts a policy remembers besides those it was trained on: whoever talks to it decides how many there are.
_HEARD = 4096


class Policy:
    """Runs a bundle, on a device of torch. Instructions the bundle knows need no sentence encoder."""

    def __init__(self, bundle: Bundle, base: Path | None = None, device: str = "") -> None:
        """``base``: the folder of what the bundle was learned on, where it was (see `bases`). ``device``: see
        `device_named`; by default a GPU for a policy on a base, and none for a small network, which answers
        sooner where it is."""
        self._device = device_named(device or ("cpu" if base is None else "auto"))
        self.policy_id = bundle.policy_id
        self.manifest = bundle.manifest
        weights = dict(bundle.weights)
        embeddings = weights.pop(_EMBEDDINGS)
        self._encoder = InstructionEncoder(
            dict(zip(bundle.manifest.instructions, embeddings, strict=True)), most=_HEARD
        )
        config = PolicyConfig.from_dict(bundle.manifest.network)
        if base is not None:
            config = _placed(config, base)
        self._model = FlowPolicy(config)
        self._model.load_state_dict(weights)
        self._model.eval().to(self._device)
        self._vision = self._model.config.field.encoder.vision
        self._reads = self._model.normaliser.prompt([], torch.empty(0, 0)) is not None
        self._sizes = sizes_of(bundle.manifest.embodiments)
        field = self._model.config.field
        self._widths = Widths(bundle.manifest.embodiments, field.encoder.state_dim, field.action_dim)
        if self._vision and self._vision.pretrained:
            extractor_of(self._vision)  # as it was in training, or refused before anything moves

    @classmethod
    def load(
        cls,
        uri: str | os.PathLike[str],
        trusted: Mapping[str, Ed25519PublicKey] | str | os.PathLike[str],
        device: str = "",
    ) -> "Policy":
        """Load and verify the bundle in the folder (or bucket) ``uri``.

        ``trusted``: the public keys that may have signed it, by id; or where they lie, a folder of keys, a
        home, or one key's file. ``device``: see `device_named`. Raises BadBundle where it is missing, damaged
        or signed by nobody trusted.
        """
        bundle = load_bundle(os.fspath(uri), keys_of(trusted))
        needs, beside = bundle.manifest.base, bundle.uri.rstrip("/").rpartition("/")[0]
        base = None if needs is None else local_base(beside, needs)
        try:
            return cls(bundle, base, device)
        except (ValueError, KeyError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise BadBundle(f"{uri}: weights and network do not fit ({line}); release it anew") from error

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras it must be shown; none if it acts by proprioception alone."""
        return self._vision.cameras if self._vision else ()

    @property
    def sizes(self) -> Mapping[str, Collection[tuple[int, int]]]:
        """Heights and widths of the pictures it learned from, by camera; a bundle of before knows of none."""
        return self._sizes

    @property
    def chunk(self) -> int:
        """Actions proposed at a time."""
        return self._model.config.field.chunk

    @property
    def widths(self) -> Mapping[str, int]:
        """Numbers of a state, by the embodiment it learned from."""
        return {name: widths["state"] for name, widths in self.manifest.embodiments.items()}

    @property
    def instructions(self) -> tuple[str, ...]:
        """What it was trained to be told; another text needs the sentence encoder."""
        return self.manifest.instructions

    def understand(self, instruction: str) -> None:
        """Learn a text's embedding ahead of acting on it; nothing to do for one it knows."""
        self._encoder([instruction])

    def __repr__(self) -> str:
        eyes = f", sees {', '.join(self.cameras)}" if self.cameras else ""
        return f"Policy({self.policy_id}: {self.manifest.lineage.stage}, chunks of {self.chunk}{eyes})"

    def act(
        self,
        states: npt.NDArray[np.floating[Any]],
        instructions: str | Sequence[str],
        generator: Randomness | None = None,
        frames: Shown | Sequence[Shown] | None = None,
        embodiment: str = "",
    ) -> npt.NDArray[np.float32]:
        """Action chunks (B, H, D) for states (B, S), or one (H, D) for one state (S,).

        Raw units at both ends, actions within their limits. One instruction holds for all states.
        ``generator`` is the only source of randomness, a fresh one by default; with one each, a state's chunk
        is, but for rounding, the one it gets alone. ``frames``: for each state
        what its cameras show, by their names, as JPEG bytes or (h, w, 3) u8 RGB of the size that it learned
        from, None for a camera that the robot's embodiment has not; not looked at without `cameras`.
        ``embodiment`` says whose states they are, to a policy that learned from several; untold, it knows a
        robot by how wide its states are, and D is that robot's. Raises UserError for an embodiment that is
        not among several, where no embodiment's states are that wide, a number of theirs is none, a camera
        is missing or shows pictures of another size, or none shows anything.
        """
        who, widths = f"policy {self.policy_id}", self.widths
        states = numbers(states, who)
        if states.ndim == 1:
            one = [frames] if isinstance(frames, Mapping) else frames
            return self.act(states[None], instructions, generator, one, embodiment)[0]
        texts = sayings(instructions, len(states), who)
        if isinstance(frames, Mapping):
            raise UserError(f"{who}: frames of one state for {len(states)}; give a list")
        if embodiment and len(widths) > 1 and embodiment not in widths:
            known = ", ".join(sorted(widths))
            raise UserError(
                f"{who}: learned from {known}, and not from {embodiment}{suggest(embodiment, widths)}; "
                "release one that learned from it, or mend the name in the robot's embodiment file"
            )
        placed = bool(self._model.normaliser.places)
        own = None if placed else self._widths.pad(states, who, embodiment)
        generator = generator or np.random.default_rng()
        noise = drawn(generator, self._model.noise_shape, len(states))
        seen = pixels(frames, len(states), self._vision, who, self._sizes) if self._vision else BLIND
        told, noisy = self._told(texts), torch.as_tensor(noise)
        with torch.inference_mode():
            if own is None:  # every embodiment's numbers have places of their own
                raw = torch.as_tensor(states.copy())
                return self._model.answer(raw, texts, told, noisy, seen._asdict(), embodiment).numpy()
            mask = None if own.mask is None else torch.as_tensor(own.mask)
            shown = {**seen._asdict(), "dim_mask": mask}
            chunks = self._model.answer(torch.as_tensor(own.states), texts, told, noisy, shown)
        return chunks[..., : own.width].numpy()

    def give_back(self, out: Path) -> tuple[str, ...]:
        """Write it, base and all, into the new folder ``out`` in the layout of those who made the base; the
        folder appears whole or not at all. What its reader must know is returned, and stands in README.md.

        Raises UserError for a policy without a base, and where the folder can't be written.
        """
        kind = self._model.config.field.kind
        if kind is None:
            raise UserError(
                f"policy {self.policy_id}: learned here from nothing, so there is no checkpoint of another "
                "project to give back; `lwd hub push-policy` shares it as it is"
            )
        with _appearing(out) as folder:
            notes = kind.made.give_back(self._model, folder)
            (folder / "README.md").write_text(_card(self, notes), encoding="utf-8")
        return notes

    def _told(self, texts: list[str]) -> Tensor:
        """Sentence embeddings (B, E); of a network that reads for itself zeros, which it doesn't look at."""
        if self._reads and self._model.critic is None:
            return torch.zeros(len(texts), self._model.config.field.encoder.instruction_dim)
        return self._encoder(texts)


@contextmanager
def _appearing(out: Path) -> Generator[Path]:
    """A folder beside ``out`` to write into, which takes its place when the block ends well."""
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    if out.exists():
        raise UserError(f"{out}: exists already; name a new folder")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(out)
    except OSError as error:
        raise UserError(f"{out}: no folder can be written there ({error}); name another") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _card(policy: Policy, notes: Sequence[str]) -> str:
    made, base = policy.manifest.lineage, policy.manifest.base
    told = "".join(f"\n- {note}" for note in notes)
    return (
        "---\nlibrary_name: lerobot\npipeline_tag: robotics\ntags:\n- robotics\n---\n\n"
        f"LWD policy `{policy.policy_id}` ({made.stage}, update {made.train_step}), learned on a checkpoint "
        f"whose files have the digest `{base.base_id if base else ''}`.\n{told}\n"
    )


def device_named(name: str) -> torch.device:
    """A device of torch: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``, a GPU where there is one.

    Raises UserError for one that is not here.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        device = torch.device(chosen)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without a GPU's code
        line = str(error).splitlines()[0]
        raise UserError(
            f"device {name!r}: not here ({line}); cpu, cuda, cuda:1 and auto are devices"
        ) from error
    return device


def load_policy(
    path: str | os.PathLike[str],
    trusted: Mapping[str, Ed25519PublicKey] | str | os.PathLike[str] | None = None,
) -> Policy:
    """Load and verify the policy in a folder or bucket, ``<policies>/<policy_id>``.

    ``trusted``: who may have signed it, as a folder of keys (``<home>/keys``, or just its ``trusted``), a
    home, or one public key's file; by default the keys of ``LWD_HOME``. Raises `UserError` where it must not
    be run: missing, damaged, or signed by nobody trusted.
    """
    if trusted is None:
        from lwd_core.settings import Settings

        trusted = Settings().keys
    return Policy.load(path, trusted)


def save_policy(
    policies: str,
    model: FlowPolicy,
    instructions: Mapping[str, Tensor],
    *,
    embodiments: dict[str, dict[str, int]],
    config: dict[str, object],
    lineage: Lineage,
    key: Ed25519PrivateKey,
) -> Bundle:
    """Write a trained policy as a signed bundle, and beside it what it was learned on, unless that is there.

    ``instructions`` are the texts it was trained on with their embeddings (384,);
    ``embodiments`` maps a name to its ``state`` and ``action`` widths. Of ``config``, that of its training,
    what says where the base lay is left out: others have it elsewhere, and who learned there is not theirs
    to know.
    """
    texts = sorted(instructions)
    if not texts:
        raise ValueError("a policy needs at least one instruction")
    kind = model.config.field.kind
    found = None if kind is None else kind.made.base_files()
    base = None if found is None else base_named(found)
    if found is not None and base is not None:
        publish_base(policies, base, found.files)
    network = _placed(model.config, None).to_dict()
    asked = cast(Any, config.get("network"))
    if asked and asked.get("field"):
        config = {**config, "network": {**asked, "field": network["field"]["kind"]}}
    manifest = PolicyManifest(
        network=network,
        embodiments=embodiments,
        instructions=tuple(texts),
        config=config,
        lineage=lineage,
        weights_sha256="",
        base=base,
    )
    weights = {**model.state_dict(), _EMBEDDINGS: torch.stack([instructions[text] for text in texts])}
    return save_bundle(policies, manifest, weights, key)


def _placed(config: PolicyConfig, base: Path | None) -> PolicyConfig:
    """A policy's network with its base in that folder, or nowhere yet."""
    kind = config.field.kind
    if kind is None:
        return config
    return replace(config, field=replace(config.field, kind=replace(kind, made=kind.made.placed(base))))
