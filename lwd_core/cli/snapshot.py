"""Snapshots: build, verify, show, compare, and rebuild a batch."""

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_core.cli._output import AsJson, say_document, say_json, say_rows
from lwd_core.cli.main import EXIT_FOUND, complain
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.diff import diff as compare
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.snapshots.verify import verify as faults_of
from lwd_core.storage.location import open_location

app = typer.Typer(no_args_is_help=True, help=__doc__)
Digest = Annotated[str, typer.Argument(help="Digest, or the beginning of one.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the lake's snapshots, newest first.

    Example: lwd snapshot list --json
    """
    rows = _lake().sql(
        "SELECT digest, name, state, episodes, steps, bytes FROM snapshots ORDER BY created_ns DESC, digest"
    )
    found = rows.to_pylist()
    if not as_json:
        found = [row | {"digest": row["digest"][:12]} for row in found]
    say_rows(found, rows.column_names, as_json)


@app.command()
def build(
    spec: Annotated[Path, typer.Argument(help="Spec, a YAML file; docs/snapshots.md lists its fields.")],
    versions_of: Annotated[
        str, typer.Option(help="Read the tables at the versions of this snapshot, not at the newest.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Build the snapshot a spec asks for and print its digest. The same again changes nothing.

    Example: lwd snapshot build my-snapshot.yaml
    """
    settings, asked = Settings(), SnapshotSpec.from_yaml(spec)
    versions = dict(_open(versions_of).manifest.versions) if versions_of else None
    snapshot = build_snapshot(
        _lake(), asked, settings.snapshots, now_ns=time.time_ns(), versions=versions, progress=_progress()
    )
    counts = snapshot.manifest.counts
    if as_json:
        say_json({"digest": snapshot.digest, **counts})
        return
    typer.echo(f"{counts['episodes']} episodes, {counts['steps']} steps", err=True)
    if copies := counts.get("copies_left_out"):
        typer.echo(f"{copies} more are recordings that are in already; `lwd logs same` names them", err=True)
    typer.echo(snapshot.digest)


@app.command()
def verify(digest: Digest, as_json: AsJson = False) -> None:
    """Check every shard, sample and frame shard against the manifest; exit code 1 if anything is wrong.

    Example: lwd snapshot verify 5f9d6f
    """
    settings = Settings()
    faults = faults_of(settings.snapshots, digest, open_location(settings.lake))
    if as_json:
        say_json({"digest": digest, "faults": faults})
    for fault in () if as_json else faults:
        typer.echo(fault)
    if faults:
        complain(f"snapshot {digest}: {len(faults)} faults; build it again from its spec")
        raise typer.Exit(EXIT_FOUND)
    if not as_json:
        typer.echo("whole")


@app.command()
def show(digest: Digest, as_json: AsJson = False) -> None:
    """Show a snapshot's manifest without its episodes, as JSON.

    Example: lwd snapshot show 5f9d6f
    """
    manifest = asdict(_open(digest, verify=False).manifest)
    for name in ("episodes", "stats"):
        manifest.pop(name)
    say_document(manifest, as_json)


@app.command()
def diff(a: Digest, b: Digest, as_json: AsJson = False) -> None:
    """Say which robots, tasks, labels, episodes and statistics differ.

    Example: lwd snapshot diff 5f9d6f 77ab01
    """
    found = compare(_open(a), _open(b))
    if as_json:
        say_json(asdict(found))
    elif not found:
        typer.echo("equal")
    else:
        for line in _lines(asdict(found)):
            typer.echo(line)


@app.command()
def stats(digest: Digest, as_json: AsJson = False) -> None:
    """Print the norm statistics of the train split, a line a dimension.

    Example: lwd snapshot stats 5f9d6f
    """
    manifest = _open(digest, verify=False).manifest
    names = ("mean", "std", "min", "q01", "q99", "max")
    rows = [
        {"embodiment": embodiment, "vector": vector, "dim": i}
        | {name: getattr(moments, name)[i] for name in names}
        for embodiment, vectors in manifest.stats.items()
        for vector, moments in vectors.items()
        for i in range(len(moments.mean))
    ]
    say_rows(rows, ("embodiment", "vector", "dim", *names), as_json)


@app.command()
def batch(
    digest: Digest,
    step: Annotated[int, typer.Option(min=0, help="Number of the batch, from 0.")],
    state: Annotated[
        str, typer.Option(help="Loader state: a JSON file, or a checkpoint's step folder.")
    ] = "",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Without --state: samples of the global batch.")
    ] = 256,
    seed: Annotated[int, typer.Option(help="Without --state: the loader's seed.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the tensors here, as safetensors.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the batch of a step: what each sample is, and a digest of all tensors on standard error.

    Example: lwd snapshot batch 5f9d6f --step 1200 --state lwd-data/checkpoints/offline/step-4000
    """
    from safetensors.torch import save

    from lwd_core.loader.restore import restore
    from lwd_core.loader.transition_loader import TransitionLoader

    snapshot = _open(digest)
    if state:
        saved = _loader_state(state)
        used = [part["snapshot"] for part in saved.values() if isinstance(part, dict)] or [
            saved.get("snapshot")
        ]
        if snapshot.digest not in used:
            raise UserError(f"{state}: it drew from {', '.join(map(str, used))}, not from {snapshot.digest}")
        loader = restore(Settings().snapshots, saved)
    else:
        loader = TransitionLoader(snapshot, batch_size, seed, cache=False)
        used = [snapshot.digest]
    tensors = {name: tensor.contiguous() for name, tensor in loader.batch(step).items()}
    parts = [_open(d, verify=False) for d in used]
    part = tensors["part"].tolist() if "part" in tensors else [0] * len(tensors["reward"])
    rows = [
        {
            "row": i,
            "snapshot": parts[part[i]].digest[:12],
            "episode_id": parts[part[i]].episodes[episode].episode_id,
            "task": parts[part[i]].episodes[episode].task,
            "frame": int(tensors["frame"][i]),
            "frames": int(tensors["mask"][i].sum()),
            "human": bool(tensors["human"][i]),
            "reward": float(tensors["reward"][i]),
            "discount": float(tensors["discount"][i]),
        }
        for i, episode in enumerate(tensors["episode"].tolist())
    ]
    say_rows(rows, tuple(rows[0]), as_json)
    if out:
        out.write_bytes(save(tensors))
    joined = hashlib.sha256()
    for name in sorted(tensors):
        joined.update(name.encode() + tensors[name].numpy().tobytes())
    typer.echo(f"batch {step}: {joined.hexdigest()}", err=True)


def _lake() -> Lake:
    return Lake.open(Settings().lake)


def _open(digest: str, *, verify: bool = True) -> Snapshot:
    return Snapshot.open(Settings().snapshots, digest, verify=verify)


def _loader_state(path: str) -> dict[str, Any]:
    if Path(path).is_file():
        try:
            found = json.loads(Path(path).read_text())
        except ValueError as e:
            raise UserError(f"{path}: no JSON ({e}); give the state_dict of a loader") from e
        if isinstance(found, dict):
            return found
        raise UserError(f"{path}: no loader state; give the state_dict of a loader")
    from lwd_core.training.checkpoint import read_checkpoint

    return read_checkpoint(open_location(path)).state["loader"]


def _progress() -> Any:
    last = Counter[str]()

    def report(done: int, of: int) -> None:
        share = done * 100 // of
        if share // 10 > last["shown"]:
            last["shown"] = share // 10
            typer.echo(f"{share} %  {done} of {of} episodes", err=True)

    return report


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{part}.{k}: {a!r} -> {b!r}" for part in ("spec", "versions") for k, (a, b) in found[part].items()
    ]
    lines += [
        f"{k} {v}: {a} -> {b} episodes" for k, values in found["by"].items() for v, (a, b) in values.items()
    ]
    for name, text in (("only_a", "only in the first"), ("only_b", "only in the second")):
        lines += [f"episode {i}: {text}" for i in found[name]]
    for i, changed in found["facts"].items():
        lines += [f"episode {i}: {k} {a!r} -> {b!r}" for k, (a, b) in changed.items()]
    lines += [f"episode {i}: other rewards" for i in found["labels"]]
    lines += [f"episode {i}: other steps" for i in found["steps"]]
    return lines + [
        f"mean of {k} moved by up to {v:.3g} standard deviations" for k, v in found["stats"].items()
    ]
