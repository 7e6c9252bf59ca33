"""Keys that sign policies and releases: list, rotate, trust, distrust."""

import time
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.errors import UserError
from lwd_core.policies import keys
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the trusted keys, and which of them signs here.

    Example: lwd keys list
    """
    folder = Settings().keys
    trusted = keys.trusted_keys(folder)
    signs = keys.key_id(keys.signing_key(folder).public_key()) if keys.has_signing_key(folder) else None
    rows = [{"key_id": name, "signs": "yes" if name == signs else ""} for name in trusted]
    say_rows(rows, ("key_id", "signs"), as_json)


@app.command()
def rotate(
    resign: Annotated[
        bool, typer.Option(help="Also sign policies, channels and robots anew, so that the old key can go.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new signing key; what the old one signed stays valid while its public key is trusted.

    Example: lwd keys rotate --resign
    """
    settings = Settings()
    folder = settings.keys
    keys.require_signing_file()
    name, done, left = keys.rotate(folder), [], []
    if resign:
        from lwd_core.lake.store import Lake
        from lwd_core.policies.resign import resign as sign_anew
        from lwd_core.robots.resign import resign_robots

        lake, trusted, key = Lake.open(settings.lake), keys.trusted_keys(folder), keys.signing_key(folder)
        signed = sign_anew(lake, settings, key, trusted, now_ns=time.time_ns())
        robots = resign_robots(settings, key, trusted)
        done, left = signed.done + robots.done, signed.left + robots.left
    if as_json:
        say_json({"key_id": name, "signed": done, "left": left})
        return
    for what in done:
        typer.echo(f"signed anew: {what}")
    for what in left:
        typer.echo(f"not signed: {what}", err=True)
    typer.echo(f"{name} signs from now on; copy {folder}/trusted to the robots")


@app.command()
def trust(
    file: Annotated[Path, typer.Argument(help="A public key: a .pem of another machine's keys/trusted.")],
    as_json: AsJson = False,
) -> None:
    """Trust a public key beside the others.

    Example: lwd keys trust 5a1e90bb2c7d4f06.pem
    """
    try:
        public = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; give a .pem file") from error
    try:
        name = keys.trust(Settings().keys, public)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    if as_json:
        say_json({"key_id": name, "trusted": True})
    else:
        typer.echo(f"{name} is trusted")


@app.command()
def distrust(
    key: Annotated[str, typer.Argument(help="Key id, or the beginning of one.")],
    as_json: AsJson = False,
) -> None:
    """Take a key out of trust: no robot that gets the new set runs what it signed.

    Example: lwd keys distrust 5a1e
    """
    folder = Settings().keys
    name = keys.distrust(folder, key)
    if as_json:
        say_json({"key_id": name, "trusted": False})
    else:
        typer.echo(f"{name} is not trusted any more; copy {folder}/trusted to the robots")
