"""Serve a policy to robots elsewhere, over openpi's websocket protocol."""

import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lwd_core.cli._ask import Option
from lwd_core.cli._output import AsJson, answer, say_json
from lwd_core.extras import require
from lwd_core.interrupt import graceful_stop, stopped
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

if TYPE_CHECKING:
    from lwd_core.fleet.channel import PolicySource
    from lwd_core.serve.server import Listening


def serve(
    channel: Annotated[Channel, Option(help="Release channel that is followed.")] = Channel.PRODUCTION,
    policy: Annotated[
        str, Option(help="Serve this one instead: its folder, its id or the beginning of it.")
    ] = "",
    host: Annotated[
        str, Option(help="Address; others than 127.0.0.1 want a token or --client-ca.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0: a free one.", min=0, max=65535)] = 8000,
    robots: Annotated[int, Option(help="Robots connected at most.", min=1, max=1024)] = 32,
    wait_ms: Annotated[
        float, Option(help="A request waits so long for others, to be asked together.", min=0, max=1000)
    ] = 5.0,
    pause_s: Annotated[
        float, Option(help="The first observation after such a pause begins an episode.", min=0.1)
    ] = 30.0,
    message_mb: Annotated[int, Option(help="Size of a message at most, MiB.", min=1, max=256)] = 8,
    device: Annotated[str, Option(help="Where it is computed: auto, cpu, cuda, cuda:1.")] = "auto",
    seed: Annotated[
        int | None, Option(help="Of all noise; default: another one each time, which is said.", min=0)
    ] = None,
    token_file: Annotated[
        Path | None, Option(help="File of the token that robots send; default: LWD_SERVE_TOKEN, else none.")
    ] = None,
    tls_cert: Annotated[Path | None, Option(help="The server's certificate, PEM: wss and https.")] = None,
    tls_key: Annotated[Path | None, Option(help="Its key, where it isn't in the same file.")] = None,
    client_ca: Annotated[
        Path | None, Option(help="Robots must show a certificate that this one signed, PEM.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the newest verified policy of a channel to robots that speak openpi's websocket protocol.

    Serves until Ctrl-C or SIGTERM, answers what is under way, and says how long robots waited.

    Example: lwd serve --channel canary --port 8000
    """
    require("msgpack", "websockets")  # their extra brings torch along
    from lwd_core.serve.access import Access, tls_from, token_from
    from lwd_core.serve.server import ServeConfig, serve_policies

    settings = Settings()
    access = Access(host, token_from(token_file), tls_from(tls_cert, tls_key, client_ca))
    config = ServeConfig(
        access=access,
        port=port,
        channel=channel,
        robots=robots,
        wait_s=wait_ms / 1000,
        message_bytes=message_mb * 2**20,
        pause_s=pause_s,
        seed=secrets.randbits(32) if seed is None else seed,
    )
    say = _Once()
    if access.in_the_clear:
        say("without --tls-cert whoever listens on the network reads the token and what robots see")

    def ready(at: "Listening") -> None:
        if as_json:
            say_json({"url": at.url, "status": at.page, "seed": config.seed})
        else:
            answer(f"robots: {at.url}  status: {at.page}  seed {config.seed}  (Ctrl-C ends it)")

    stop = threading.Event()
    with graceful_stop(stop):
        source = _source(settings, policy, device, say)
        tally = serve_policies(source, config, stop=stop, ready=ready, say=say)
    typer.echo(tally.line(), err=True)
    if code := stopped():
        raise typer.Exit(code)


class _Once:
    """Says a line on standard error, unless it said the same of late."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}

    def __call__(self, line: str) -> None:
        if line in self._said:
            return
        self._said[line] = None
        if len(self._said) > 256:
            del self._said[next(iter(self._said))]
        typer.echo(f"{time.strftime('%H:%M:%S')} {line}", err=True)


def _source(settings: Settings, policy: str, device: str, say: _Once) -> "PolicySource":
    if not policy:
        from lwd_core.fleet.channel import ReleasedPolicies
        from lwd_core.policies.inference import device_named

        device_named(device)  # one that is not here is told of now, not when something is released
        return ReleasedPolicies(settings, say, device)
    from lwd_core.policies.inference import Policy
    from lwd_core.serve.newest import OnePolicy

    return OnePolicy(Policy.load(_address(settings, policy), settings.keys, device), time.time_ns())


def _address(settings: Settings, policy: str) -> str:
    """Where a policy lies that is named by a folder or as the lake knows it."""
    if "/" in policy:
        return policy
    from lwd_core.cli._named import policy_named
    from lwd_core.lake.store import Lake
    from lwd_core.policies.registry import address

    return address(settings.policies, policy_named(Lake.open(settings.lake), policy))
