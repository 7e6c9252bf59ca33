"""Training runs: how they do on held-out episodes, and the policies they hold."""

import time
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)
Run = Annotated[str, typer.Argument(help="A run's name, or the address of a checkpoint.")]


@app.command()
def assess(
    run: Run,
    snapshot: Annotated[str, typer.Option(help="Digest; default: what the run learned from.")] = "",
    split: Annotated[str, typer.Option(help="train or holdout.")] = "holdout",
    batches: Annotated[int, typer.Option(help="How many are averaged over.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Say what a run's losses and values are on episodes it did not learn from.

    Example: lwd run assess offline
    """
    from lwd_core.training.holdout import assess as look
    from lwd_core.training.run import find_checkpoint

    settings = Settings()
    found = look(
        find_checkpoint(settings.checkpoints, run), settings, snapshot=snapshot, split=split, batches=batches
    )
    say_rows([{"measure": k, "mean": f"{v:.6g}"} for k, v in found.items()], ("measure", "mean"), as_json)


@app.command()
def policy(
    run: Run,
    program: Annotated[
        Path | None,
        typer.Option(help="Also write it as a torch.export program (.pt2), which needs torch alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the policy a run holds, enter it and print its id; again, it changes nothing.

    Example: lwd run policy offline --program policy.pt2
    """
    from lwd_core.lake.store import Lake
    from lwd_core.policies.keys import signing_key
    from lwd_core.policies.registry import register
    from lwd_core.training.export import export_policy, parent_of
    from lwd_core.training.program import export_program
    from lwd_core.training.run import find_checkpoint, policy_of

    settings = Settings()
    lake, checkpoint = Lake.open(settings.lake), find_checkpoint(settings.checkpoints, run)
    bundle = export_policy(
        checkpoint, settings.policies, signing_key(settings.keys), parent=parent_of(lake, checkpoint)
    )
    register(lake, bundle, now_ns=time.time_ns())
    if program is not None:
        program.write_bytes(export_program(policy_of(checkpoint), 1))
    if as_json:
        say_json({"policy_id": bundle.policy_id, "program": None if program is None else str(program)})
    else:
        typer.echo(bundle.policy_id)
