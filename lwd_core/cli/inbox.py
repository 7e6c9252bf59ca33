"""What needs a person's eye: quarantine, salvage, failed checks, canaries, gates, disagreements."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from lwd_core.cli._ask import Option
from lwd_core.cli._output import AsJson, say_rows
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings


def inbox(
    days: Annotated[float, Option(help="How far back what happened is told.", min=0)] = 14,
    as_json: AsJson = False,
) -> None:
    """List what needs a person's eye, the newest first, each with the command that looks at it.

    Quarantine and disagreements stay until they are settled; what else happened stays for --days.

    Example: lwd inbox --days 3
    """
    from lwd_core.reports.inbox import inbox as collected

    rows = [asdict(item) for item in collected(Lake.open(Settings().lake), now_ns=time.time_ns(), days=days)]
    if not as_json:
        for row in rows:
            row["when"] = datetime.fromtimestamp(row["when_ns"] / 1e9, UTC).strftime("%m-%d %H:%M")
            row["what"] = row["what"] if "/" in row["what"] or "@" in row["what"] else row["what"][:12]
    say_rows(rows, ("when", "kind", "count", "what", "says", "look"), as_json)
