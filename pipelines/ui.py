"""Open the Dagster UI over a home.

``lwd ui``, or ``python -m pipelines.ui``: webserver and daemon (sensors, schedules, the run queue) on the
loopback address only. Imports nothing of Dagster: its services do, and this process would only keep them
waiting.
"""

import signal
import sys
from typing import Annotated

import typer

from lwd_core.cli.main import complain, main
from lwd_core.extras import require
from pipelines.home import enter
from pipelines.services import HOST, services, watch

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def ui(
    home: Annotated[
        str, typer.Option(envvar="LWD_HOME", help="Folder the demo or your own lake lies in.")
    ] = "lwd-data",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the Dagster UI over a home, on the loopback address only; Ctrl-C ends it.

    Exit code 1: a service ended by itself.

    Example: lwd ui --home my-lake
    """
    require("dagster", "dagster_webserver")
    root = enter(home)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell's background job is born deaf to the first
        signal.signal(ending, signal.default_int_handler)
    try:
        with services(port) as running:
            typer.echo(f"http://{HOST}:{port}  (home {root}; Ctrl-C ends it)")
            sys.stdout.flush()
            code = watch(running)
    except KeyboardInterrupt:
        return
    complain(f"a service of the UI ended by itself (exit code {code}); what it said stands above")
    raise typer.Exit(1)


if __name__ == "__main__":
    main(app, "lwd ui")
