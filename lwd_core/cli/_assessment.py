"""An assessment as a person reads it: findings first, what to do about them, then the numbers behind."""

import typer

from lwd_core.assessment.assess import Assessment
from lwd_core.assessment.verdict import Grade
from lwd_core.cli._output import say_rows


def print_assessment(found: Assessment) -> None:
    """Everything to standard output."""
    typer.echo(f"run {found.run}, stage {found.stage}, update {found.update}")
    if found.episodes:
        typer.echo(f"{found.episodes} episodes {found.where}; a person helped in {found.helped}")
    if found.findings:
        rows = [
            {"measure": f.measure, "found": f.found, "expected": f.expected, "verdict": f.verdict}
            for f in found.findings
        ]
        say_rows(rows, ("measure", "found", "expected", "verdict"), as_json=False)
    for f in found.findings:
        if f.verdict is not Grade.GOOD:
            typer.echo(f"{f.measure}: {f.remedy}")
    if found.ranks:
        shares = {f"AUC at {share:.0%}": by_task for share, by_task in found.ranks.items()}
        tasks = next(iter(shares.values()))
        rows = [{"task": t, **{name: by_task[t] for name, by_task in shares.items()}} for t in tasks]
        say_rows(rows, ("task", *shares), as_json=False)
    if found.success:
        tasks = next(iter(found.success.values()))
        rows = [{"task": t, **{who: by_task[t] for who, by_task in found.success.items()}} for t in tasks]
        say_rows(rows, ("task", *found.success), as_json=False)
    if found.means:
        means = [{"measure": k, "mean": f"{v:.6g}"} for k, v in found.means.items()]
        say_rows(means, ("measure", "mean"), as_json=False)
    for note in found.notes:
        typer.echo(note)
