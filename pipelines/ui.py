"""Open the Dagster UI over a home: ``python -m pipelines.ui [--home DIR] [--port N]``.

Webserver and daemon (sensors, schedules, the run queue) on the loopback address only. Imports nothing of
Dagster: its services do, and this process would only keep them waiting.
"""

import signal
import sys
from typing import Annotated

import typer

from lwd_core.cli.main import EXIT_USER_ERROR, complain
from lwd_core.errors import UserError
from pipelines.home import enter
from pipelines.services import HOST, services, watch

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def ui(
    home: Annotated[str, typer.Option(help="Folder the demo or your own lake lies in.")] = "lwd-data",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the UI; Ctrl-C ends it."""
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


def main() -> None:
    """Exit codes: 0 ended by Ctrl-C, 1 a service died, 2 wrong input."""
    try:
        app()
    except UserError as error:
        complain(str(error))
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
