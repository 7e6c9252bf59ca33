"""A checkpoint's tensors by our modules' names: which file holds what, and what is refused before it is
loaded."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.rl.vla.config import Kind

WEIGHTS = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
FLOATS = {"F32", "BF16", "F16"}

_ROOT = "model."
_PALIGEMMA, _SMOLVLM = "paligemma_with_expert.paligemma.", "vlm_with_expert.vlm."
_PI = {
    "vision.": f"{_PALIGEMMA}model.vision_tower.vision_model.",
    "projector.": f"{_PALIGEMMA}model.multi_modal_projector.linear.",
    "text.": f"{_PALIGEMMA}model.language_model.",
    "expert.": "paligemma_with_expert.gemma_expert.model.",
}
#: Our modules, and a checkpoint's behind its "model."; what is not here is called the same.
PREFIXES: dict[Kind, dict[str, str]] = {
    "pi0": _PI,
    "pi05": _PI,
    "smolvla": {
        "vision.": f"{_SMOLVLM}model.vision_model.",
        "projector.": f"{_SMOLVLM}model.connector.modality_projection.proj.",
        "text.": f"{_SMOLVLM}model.text_model.",
        "expert.": "vlm_with_expert.lm_expert.",
    },
}
#: Heads that say words; nothing here is computed with them. PaliGemma's may be all
#: there is of its embedding; where both are, LeRobot reads the embedding.
HEADS: dict[Kind, tuple[str, ...]] = {
    "pi0": (
        f"{_ROOT}{_PALIGEMMA}lm_head.weight",
        f"{_ROOT}paligemma_with_expert.gemma_expert.lm_head.weight",
    ),
    "pi05": (
        f"{_ROOT}{_PALIGEMMA}lm_head.weight",
        f"{_ROOT}paligemma_with_expert.gemma_expert.lm_head.weight",
    ),
    "smolvla": (f"{_ROOT}{_SMOLVLM}lm_head.weight",),
}
_OLD_STATISTICS = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")


def to_checkpoint(kind: Kind, name: str) -> str:
    """A parameter's name in a checkpoint."""
    for ours, theirs in PREFIXES[kind].items():
        if name.startswith(ours):
            return _ROOT + theirs + name.removeprefix(ours)
    return _ROOT + name


def checked(file: Path, kind: Kind, expected: Mapping[str, Tensor]) -> dict[str, str]:
    """The key in ``file`` of each of our parameters; ``expected`` tells their shapes.

    `UserError` for keys that are missing or belong to nothing, shapes, types, and what is no safetensors
    file.
    """
    _exists(file)
    with _opened(file) as (shapes, _):
        found = {_canonical(kind, key): key for key in shapes}
        if len(found) < len(shapes):
            twice = sorted(set(shapes) - set(found.values()))
            raise UserError(f"{file}: {_some(twice)}: there twice, with and without a prefix; keep one")
        embedding, head = to_checkpoint(kind, "text.embed_tokens.weight"), HEADS[kind][0]
        if kind != "smolvla" and embedding not in found and head in found:
            found[embedding] = found[head]
        keys = {name: to_checkpoint(kind, name) for name in expected}
        missing = sorted(key for key in keys.values() if key not in found)
        extra = sorted(found[key] for key in set(found) - set(keys.values()) - set(HEADS[kind]))
        if any(key.startswith(_OLD_STATISTICS) for key in extra):
            raise UserError(
                f"{file}: {_some(extra)}: statistics among the weights, as LeRobot wrote them before "
                "version 0.4; "
                "migrate the folder with lerobot's migrate_policy_normalization"
            )
        if missing:
            raise UserError(
                f"{file}: {_some(missing)}: missing"
                + (f"; {_some(extra)} belong to nothing" if extra else "")
                + f"; give the whole checkpoint of a {kind}, as LeRobot saves it"
            )
        if extra:
            raise UserError(
                f"{file}: {_some(extra)}: a {kind} has none of that; check the folder's type and version"
            )
        for name, key in keys.items():
            shape, kept = shapes[found[key]]
            if shape != tuple(expected[name].shape):
                raise UserError(
                    f"{file}: {found[key]}: of shape {list(shape)}, where the configuration makes it "
                    f"{list(expected[name].shape)}; give the config.json (and sizes) that it was trained with"
                )
            if kept not in FLOATS:
                raise UserError(
                    f"{file}: {found[key]}: of type {kept}; only {', '.join(sorted(FLOATS))} are read"
                )
        return {name: found[key] for name, key in keys.items()}


@torch.no_grad()
def load(file: Path, kind: Kind, model: nn.Module, keys: Mapping[str, str]) -> None:
    """Copy the tensors that `checked` found into a model, one at a time, to its types and devices."""
    with _opened(file) as (_, tensor):
        for name, parameter in model.named_parameters():
            value = tensor(keys[name])
            if not value.isfinite().all():
                raise UserError(
                    f"{file}: {keys[name]}: not all numbers are finite; copy the checkpoint "
                    "again, or take an earlier one"
                )
            parameter.copy_(value)


def _exists(file: Path) -> None:
    if file.is_file():
        return
    pickled = sorted(p.name for pattern in PICKLES for p in file.parent.glob(pattern))
    if pickled:
        raise UserError(
            f"{file.parent / pickled[0]}: a pickle, which runs what its author liked when it is read, and is "
            f"refused; save the policy as {WEIGHTS}"
        )
    if (file.parent / f"{file.name}.index.json").exists():
        raise UserError(f"{file.parent}: weights in several files; save them as one {WEIGHTS}")
    raise UserError(f"{file.parent}: no {WEIGHTS}; give a policy's folder as LeRobot writes it")


@contextmanager
def _opened(file: Path) -> Generator[tuple[dict[str, tuple[tuple[int, ...], str]], Callable[[str], Tensor]]]:
    """Shape and type of each tensor, and how to get one."""
    try:
        with cast(Any, safe_open)(file, "pt") as opened:
            parts = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
            shapes = {k: (tuple(p.get_shape()), str(p.get_dtype())) for k, p in parts.items()}
            yield shapes, opened.get_tensor
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{file}: no whole safetensors file ({error}); copy it again, and compare its size with the "
            "original's"
        ) from error


def _canonical(kind: Kind, key: str) -> str:
    """As LeRobot writes it today."""
    key = key if key.startswith(_ROOT) else _ROOT + key
    if kind == "pi05":
        key = key.replace(f"{_ROOT}action_time_mlp_", f"{_ROOT}time_mlp_")
    return key


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
