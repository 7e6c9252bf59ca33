"""Training runs: whether they are any good, and the policies they hold."""

import time
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._output import AsJson, say_json
from lwd_core.fleet.task import Words
from lwd_core.fleet.workcells import DEFAULT
from lwd_core.policies.scenes import Purpose
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Split

app = typer.Typer(no_args_is_help=True, help=__doc__)
Run = Annotated[str, typer.Argument(help="A run's name, or the address of a checkpoint.")]


@app.command()
def assess(
    run: Run,
    snapshot: Annotated[
        str, typer.Option(help="Of the means: digest; default: what the run learned from.")
    ] = "",
    split: Annotated[Split, typer.Option(help="Of the means.")] = Split.HOLDOUT,
    batches: Annotated[int, typer.Option(help="How many the means are over.", min=1)] = 20,
    episodes: Annotated[int, typer.Option(help="Along how many V is followed at most.", min=1)] = 1_000,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Also act by the best and the worst of 8 chunks by Q.")
    ] = False,
    scenes: Annotated[int, typer.Option(help="Simulated, of each task.", min=1)] = 20,
    first: Annotated[int, typer.Option(help="First scene of its range.", min=0)] = 0,
    purpose: Annotated[
        Purpose, typer.Option(help="Which scenes; those of evaluation are for figures that decide nothing.")
    ] = Purpose.SELECTION,
    task: Annotated[list[str] | None, typer.Option(help="Simulated; default: all of the run's.")] = None,
    robot: Annotated[
        str, typer.Option(help="Simulated: metaworld, sawyer-eyes, one that a package adds, or module:Class.")
    ] = DEFAULT,
    words: Annotated[Words, typer.Option(help="Simulated: how robots are told.")] = Words.USUAL,
    camera_size: Annotated[
        int,
        typer.Option(  # pyright: ignore[reportUnknownMemberType]
            help="Simulated: pixels a side of pictures; 0: as the run learned from.", min=0, max=4096
        ),
    ] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page with figures there.")] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write page and JSON into the run's folder, for reports.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a run's critic and policy are any good, and what to do where they aren't.

    On episodes it did not learn from: does V know the outcome, does what it promises come; from the run's
    figures: entropy, τ, path KL, advantage over the reference. docs/assess.md explains each.

    Example: lwd run assess offline --simulate --scenes 10 --html assessment.html
    """
    from lwd_core.assessment.assess import assess as look
    from lwd_core.training.run import find_checkpoint

    settings = Settings()
    checkpoint = find_checkpoint(settings.checkpoints, run)
    success = {}
    if simulate:
        from lwd_core.assessment.simulate import simulate as act

        success = act(
            checkpoint, settings, scenes, tasks=task or (), first=first, purpose=purpose, robot=robot,
            words=words, camera_size=camera_size, told=_told,
        )  # fmt: skip
    found = look(
        checkpoint,
        settings,
        snapshot=snapshot,
        split=split,
        batches=batches,
        episodes=episodes,
        success=success,
    )
    if html is not None or save:
        from lwd_core.assessment.page import render
        from lwd_core.assessment.page import save as keep
        from lwd_core.storage.location import open_location

        now_ns = time.time_ns()
        if html is not None:
            with open_location(str(html.absolute().parent)).write(html.name) as file:
                file.write(render(found, now_ns=now_ns).encode())
        if save:
            typer.echo(keep(found, now_ns=now_ns), err=True)
    if as_json:
        say_json(found.as_json())
        return
    from lwd_core.cli._assessment import print_assessment

    print_assessment(found)


def _told(who: str, done: int, total: int) -> None:
    if done == total:
        typer.echo(f"{who}: {total} episodes", err=True)


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
    data = b"" if program is None else export_program(policy_of(checkpoint), 1)
    bundle = export_policy(
        checkpoint, settings.policies, signing_key(settings.keys), parent=parent_of(lake, checkpoint)
    )
    register(lake, bundle, now_ns=time.time_ns())
    if program is not None:
        program.write_bytes(data)
    if as_json:
        say_json({"policy_id": bundle.policy_id, "program": None if program is None else str(program)})
    else:
        typer.echo(bundle.policy_id)
