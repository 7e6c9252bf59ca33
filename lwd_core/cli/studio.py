"""Look at the lake in a browser, and label it."""

import secrets
import signal
import threading
import webbrowser
from typing import Annotated

import typer

from lwd_core.cli._ask import Option
from lwd_core.cli._output import AsJson, say_json
from lwd_core.settings import Settings


def studio(
    by: Annotated[str, Option(help="Your name: the page labels in it. Without one it only reads.")] = "",
    port: Annotated[int, Option(help="Port on 127.0.0.1; 0: a free one.", min=0, max=65535)] = 3100,
    browser: Annotated[bool, Option(help="Open a browser.")] = True,
    as_json: AsJson = False,
) -> None:
    """Look at the lake in a browser: episodes, films, curves, comparisons; with --by also label it.

    Serves the loopback address only, until Ctrl-C. Whoever has the printed link may label in your name.

    Example: lwd studio --by ada
    """
    from lwd_core.studio.server import serve

    key = secrets.token_urlsafe(24)

    def ready(address: str) -> None:
        link = f"{address}#key={key}"
        if as_json:
            say_json({"url": link})
        else:
            typer.echo(f"{link}  (Ctrl-C ends it)")
        if browser:
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()

    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell's background job is born deaf to the first
        signal.signal(ending, signal.default_int_handler)
    try:
        serve(Settings(), port=port, by=by, key=key, ready=ready)
    except KeyboardInterrupt:
        return
