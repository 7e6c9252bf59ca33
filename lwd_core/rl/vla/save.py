"""A policy's folder as LeRobot reads it: the checkpoint it began with, with what was learned in its place.

config.json                            the checkpoint's, with the robot's widths, chunk and flow steps
model.safetensors                      the checkpoint's keys; what was learned in float32 stays so
policy_preprocessor.json, …            cameras by the lake's names, units by the statistics learned with
tokenizer.json, sizes.json, <vlm>/     as they were, for this package's own reader
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.rl.vla.checkpoint import TOKENIZER, VlaFolder
from lwd_core.rl.vla.config import ACTION, CONFIG, IMAGES, STATE
from lwd_core.rl.vla.sizes import SIZES
from lwd_core.rl.vla.statistics import ALSO_IN, EPS, PROCESSOR, READ_FROM, VlaStatistics
from lwd_core.rl.vla.weights import HEADS, WEIGHTS, to_checkpoint

_PIECE = 1 << 22
_STEPS = {"smolvla": "num_steps", "pi0": "num_inference_steps", "pi05": "num_inference_steps"}
_PALIGEMMA = "google/paligemma-3b-pt-224"
_TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}


def files_of(base: VlaFolder) -> dict[str, Path]:
    """All that a folder is read from, by the names under which one folder holds it. `UserError` for a part
    that lies elsewhere."""
    said: dict[str, Any] = json.loads((base.path / CONFIG).read_text(encoding="utf-8"))
    own = str(said.get("vlm_model_name") or "")
    inside = bool(own) and not own.startswith("/") and ".." not in own.split("/")
    if own and not inside and (base.path / own / CONFIG).is_file():
        raise UserError(
            f"{base.path / CONFIG}: vlm_model_name: {own} lies outside of the folder, where no robot finds "
            "it; put it beside, and name it by its own name"
        )
    names = [CONFIG, WEIGHTS, PROCESSOR, SIZES, *([f"{own}/{CONFIG}"] if inside else [])]
    found = {name: base.path / name for name in names}
    found |= {file.name: file for pattern in (READ_FROM, ALSO_IN) for file in base.path.glob(pattern)}
    return {name: file for name, file in sorted(found.items()) if file.is_file()} | {
        TOKENIZER: base.tokenizer
    }


def write_folder(
    out: Path,
    base: VlaFolder,
    learned: Mapping[str, Tensor],
    statistics: VlaStatistics,
    *,
    cameras: Mapping[str, str],
    chunk: int,
    steps: int,
) -> None:
    """Write a policy learned on ``base`` into the empty folder ``out``.

    learned: by our parameters' names. cameras: the lake's names to the checkpoint's. chunk: H it learned to
    act in; steps: Euler steps it acts with. `UserError` where it learned what no number is.
    """
    said: dict[str, Any] = json.loads((base.path / CONFIG).read_text(encoding="utf-8"))
    said["input_features"][STATE] = {"type": "STATE", "shape": [len(statistics.state_first)]}
    said["output_features"] = {ACTION: {"type": "ACTION", "shape": [len(statistics.action_first)]}}
    acted = said.get("n_action_steps")  # nothing here reads it, so it may say anything
    acted = min(chunk, acted) if isinstance(acted, int) and acted > 0 else chunk
    said |= {"chunk_size": chunk, "n_action_steps": acted}
    said |= {_STEPS[base.config.kind]: steps, "use_peft": False, "push_to_hub": False, "repo_id": None}
    _say(out / CONFIG, said)
    _processors(out, said, statistics, cameras)
    for name, path in files_of(base).items():
        if name not in (CONFIG, WEIGHTS) and not name.startswith("policy_"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / name)
    changed: dict[str, Tensor] = {}
    for name, value in learned.items():
        if not value.isfinite().all():
            raise UserError(f"{name}: the policy learned what is no number; release an earlier checkpoint")
        changed |= dict.fromkeys(_held(base, name), value)
    with (out / WEIGHTS).open("wb") as target:
        rewrite(base.weights, target, changed)


def rewrite(source: Path, target: IO[bytes], changed: Mapping[str, Tensor]) -> None:
    """Copy a safetensors file with other numbers under some of its keys, a piece at a time."""
    with source.open("rb") as file:
        header, begin = _header(file)
        about = header.pop("__metadata__", {"format": "pt"})
        types = {
            key: _TYPES[changed[key].dtype] if key in changed else header[key]["dtype"] for key in header
        }
        # as the format's own library orders them, so that each lies where its type may
        order = sorted(header, key=lambda key: (-_BYTES[types[key]], key))
        told: dict[str, Any] = {"__metadata__": about}
        end = 0
        for key in order:
            first, last = header[key]["data_offsets"]
            length = changed[key].numel() * _BYTES[types[key]] if key in changed else last - first
            told[key] = {**header[key], "dtype": types[key], "data_offsets": [end, end + length]}
            end += length
        text = json.dumps(told, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        target.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            if key in changed:
                value = changed[key].detach().cpu().contiguous()
                target.write(value.view(torch.uint8).numpy().tobytes() if value.dim() else _scalar(value))
                continue
            first, last = header[key]["data_offsets"]
            file.seek(begin + first)
            while first < last:
                piece = file.read(min(_PIECE, last - first))
                target.write(piece)
                first += len(piece)


def _header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its tensors, and where their bytes begin."""
    size = int.from_bytes(file.read(8), "little")
    return json.loads(file.read(size)), 8 + size


def _held(base: VlaFolder, name: str) -> list[str]:
    """The keys under which a file holds a parameter of ours: PaliGemma's embedding may be there twice."""
    key, kind = base.keys[name], base.config.kind
    if kind == "smolvla" or name != "text.embed_tokens.weight":
        return [key]
    pair = (to_checkpoint(kind, name), HEADS[kind][0])
    with base.weights.open("rb") as file:
        there, _ = _header(file)
    return [k for k in there if k == key or any(k in (one, one.removeprefix("model.")) for one in pair)]


def _scalar(value: Tensor) -> bytes:
    return value[None].view(torch.uint8).numpy().tobytes()


def _processors(
    out: Path, said: Mapping[str, Any], statistics: VlaStatistics, cameras: Mapping[str, str]
) -> None:
    kind, device = said["type"], said.get("device", "cpu")
    tokenizer = _PALIGEMMA if kind != "smolvla" else said["vlm_model_name"]
    mapping = said["normalization_mapping"]
    features = {**said["input_features"], **said["output_features"]}
    renamed = {IMAGES + ours: IMAGES + theirs for ours, theirs in cameras.items() if ours != theirs}
    rename = _step("rename_observations_processor", rename_map=renamed)
    normalise = _step("normalizer_processor", eps=EPS, features=features, norm_map=mapping)
    padding = "max_length" if kind != "smolvla" else said.get("pad_language_to", "longest")
    tokenise = _step(
        "tokenizer_processor",
        max_length=said["tokenizer_max_length"],
        task_key="task",
        padding_side="right",
        padding=padding,
        truncation=True,
        tokenizer_name=tokenizer,
    )
    to_device = _step("device_processor", device=device, float_dtype=None)
    batch = _step("to_batch_processor")
    if kind == "pi05":  # its state is said in words, normalised
        told = _step(
            "pi05_prepare_state_tokenizer_processor_step",
            max_state_dim=said["max_state_dim"],
            task_key="task",
        )
        before = [rename, batch, normalise, told, tokenise, to_device]
    else:
        newline = _step("smolvla_new_line_processor" if kind == "smolvla" else "pi0_new_line_processor")
        before = [rename, batch, newline, tokenise, to_device, normalise]
    back = _step("unnormalizer_processor", eps=EPS, features=said["output_features"], norm_map=mapping)
    after = [back, _step("device_processor", device="cpu", float_dtype=None)]
    values = save_tensors({name: value.contiguous() for name, value in statistics.named().items()})
    for name, steps in (("policy_preprocessor", before), ("policy_postprocessor", after)):
        for place, step in enumerate(steps):
            if step["registry_name"].endswith("normalizer_processor"):
                step["state_file"] = f"{name}_step_{place}_{step['registry_name']}.safetensors"
                (out / step["state_file"]).write_bytes(values)
        _say(out / f"{name}.json", {"name": name, "steps": steps})


def _step(registry_name: str, **config: Any) -> dict[str, Any]:
    return {"registry_name": registry_name, "config": config}


def _say(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
