"""Open the Dagster UI over a home: ``python -m pipelines.ui [--home DIR] [--port N]``.

Webserver and daemon (sensors, schedules, the run queue) on the loopback address only.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli.main import EXIT_USER_ERROR, complain
from lwd_core.errors import UserError
from pipelines.home import DAGSTER_HOME, enter

HOST = "127.0.0.1"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def ui(
    home: Annotated[str, typer.Option(help="Folder the demo or your own lake lies in.")] = "lwd-data",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the UI; Ctrl-C ends it."""
    root = enter(home)
    enter(home, profile_of(root))
    typer.echo(f"http://{HOST}:{port}  (home {root}; Ctrl-C ends it)")
    sys.stdout.flush()
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", HOST, "-p", str(port)]
    os.execv(command[0], [*command, "-w", str(DAGSTER_HOME / "workspace.yaml"), "--log-level", "warning"])


def profile_of(root: Path) -> str | None:
    """The profile the home's own demo ran with; None where there was none."""
    import dagster as dg

    from pipelines.progress import PROFILE

    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(limit=1000):
            if PROFILE in run.tags:
                return run.tags[PROFILE]
    return None


def main() -> None:
    """Exit code 2 for wrong input."""
    try:
        app()
    except UserError as error:
        complain(str(error))
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
