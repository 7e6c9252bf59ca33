"""Features of camera frames by a pretrained backbone: make, list, drop them."""
# typer's options, and what JSON holds, are of any type
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.errors import UserError, suggest
from lwd_core.features import files
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)
COLUMNS = ("layer", "backbone", "height", "width", "files", "bytes")
#: Of those that are told, a line each; the number is.
MOST = 20


@app.command()
def build(
    what: Annotated[str, Argument(help="A backbone's name, or a training configuration that names one.")],
    height: Annotated[int, Option(help="Rows frames are scaled to.", min=1)] = 96,
    width: Annotated[int, Option(help="Columns frames are scaled to.", min=1)] = 96,
    settings: Annotated[str, Option(help="The backbone's own, JSON.")] = "{}",
    where: Annotated[str, Option(help="SQL condition over episodes.")] = "true",
    camera: Annotated[list[str] | None, Option(help="Of this camera only; may be repeated.")] = None,
    workers: Annotated[int, Option(help="Frame shards looked at side by side.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Look at every frame that has no features yet, and keep them beside the frames.

    A frame that is no picture is named, and the exit code is 1. Ctrl-C keeps what is done; the same command
    goes on from there.

    Example: lwd features build efficientnet-lite0 --height 96 --width 96
    """
    from lwd_core.features.build import build_features, cameras_shown, sweep
    from lwd_core.features.extractor import extractor_of

    vision, cameras = _vision(what, height, width, settings)
    lake, cameras = Lake.open(Settings().lake), tuple(camera or cameras)
    there = cameras_shown(lake, where) if cameras else []
    for name in cameras:
        if name not in there:
            raise UserError(f"camera {name}: these episodes show nothing of it{suggest(name, there)}")
    extractor = extractor_of(vision)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(extractor.layer.name, total=None)
        done = build_features(
            lake, extractor, where=where, cameras=cameras, workers=workers,
            progress=lambda frames: bar.advance(line, frames),
        )  # fmt: skip
    sweep(lake, extractor.layer.name)
    if as_json:
        say_json(asdict(done))
    else:
        typer.echo(f"{done.layer}: {done.frames} frames looked at, {done.before} were before")
    for fault in done.faults[:MOST]:
        typer.echo(fault, err=True)
    if done.faults:
        typer.echo(f"{len(done.faults)} without features", err=True)
        raise typer.Exit(EXIT_FOUND)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the layers of features: backbone, size of the pictures, files, bytes.

    Example: lwd features list
    """
    place = Lake.open(Settings().lake).place
    rows: list[dict[str, Any]] = []
    for layer in files.layers(place):
        sizes = files.files(place, layer)
        try:
            said = files.facts(place, next(iter(sizes))) if sizes else {}
        except UserError as error:
            typer.echo(str(error), err=True)
            said = {"lwd.features": '{"backbone": "damaged"}'}
        about = json.loads(said.get("lwd.features", "{}"))
        height, width = about.get("size", (None, None))
        row = {"layer": layer, "backbone": about.get("backbone"), "height": height, "width": width}
        rows.append(row | {"files": len(sizes), "bytes": sum(sizes.values())})
    say_rows(rows, COLUMNS, as_json)


@app.command()
def drop(
    layer: Annotated[str, Argument(help="FeatureLayer, as `lwd features list` names it.")],
    as_json: AsJson = False,
) -> None:
    """Delete a layer of features; they can be made again.

    Example: lwd features drop efficientnet-lite0@3f9ac81b20d4
    """
    place = Lake.open(Settings().lake).place
    if layer not in files.layers(place):
        raise UserError(f"features {layer}: no such layer{suggest(layer, files.layers(place))}")
    gone = files.files(place, layer)
    place.fs.rm(place.path(files.FOLDER, layer), recursive=True)
    found = {"layer": layer, "files": len(gone), "bytes": sum(gone.values())}
    if as_json:
        say_json(found)
    else:
        typer.echo(f"{layer}: {found['files']} files, {found['bytes']} bytes deleted")


def _vision(what: str, height: int, width: int, settings: str) -> tuple[Any, tuple[str, ...]]:
    """How frames are to be seen, and by which cameras; none: by all."""
    from lwd_core.rl.chosen import choose
    from lwd_core.rl.encoders import EYES, VisionConfig

    if what.endswith((".yaml", ".yml", ".json")):
        from lwd_core.training.config import TrainConfig

        vision = TrainConfig.load(Path(what)).network.vision
        if vision is None or vision.pretrained is None:
            raise UserError(f"{what}: network.vision.pretrained: names no backbone; nothing to make")
        return vision, vision.cameras
    try:
        given = json.loads(settings)
        if not isinstance(given, dict):
            raise ValueError("a JSON object")
        backbone = choose(EYES, what, **given)
    except (ValueError, TypeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"backbone {what}, --settings {settings}: {line}") from error
    return VisionConfig(("",), height, width, pretrained=backbone), ()
