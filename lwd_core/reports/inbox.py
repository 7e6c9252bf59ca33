"""What needs a person's eye, in one place: logs in quarantine or salvaged, checks that failed, policies the
gate refused, canaries taken back or undecided, and where people, critics and robots differ.

What is open stays until it is mended or judged (quarantine, people who differ); what happened stays for a
while.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lwd_core.labels.queues import queue
from lwd_core.lake.store import Lake
from lwd_core.policies.canary import Decision
from lwd_core.policies.gate import gate
from lwd_core.policies.promotion import standing
from lwd_core.policies.release import recorded
from lwd_core.reports.agreement import disagreements
from storage_schemas.vocabulary import Channel

#: How long what happened is told, and after how long a canary without a verdict is.
DAYS, UNDECIDED_DAYS = 14, 3
#: Items of a kind that are told one by one.
EACH = 20
_DAY_NS = 86_400 * 10**9
Row = dict[str, Any]


@dataclass(frozen=True)
class InboxItem:
    """One thing to look at: of what ``kind``, ``what`` it is, what it ``says``, and the command to ``look``.

    ``count`` says how many logs or episodes it stands for, ``when_ns`` when the last of them came.
    """

    kind: str
    what: str
    says: str
    look: str
    when_ns: int
    count: int = 1


def inbox(lake: Lake, *, now_ns: int, days: float = DAYS) -> list[InboxItem]:
    """Everything to look at, the newest first; ``days`` is how far back what happened is told."""
    since = now_ns - round(days * _DAY_NS)
    found = [*_logs(lake, since), *_checks(lake, since), *_policies(lake, since), *_canary(lake, now_ns)]
    return sorted([*found, *_judged(lake, since)], key=lambda item: (-item.when_ns, item.kind, item.what))


def _logs(lake: Lake, since: int) -> Iterator[InboxItem]:
    """Logs by state, site and reason: a broken recorder is one thing to look at, not a hundred."""
    rows: list[Row] = lake.sql(
        "SELECT state, site, coalesce(reason, '') AS reason, count(*) AS n, max(created_ns) AS last, "
        "arg_max(uri, created_ns) AS uri FROM logs "
        "WHERE state = 'quarantined' OR (state = 'salvaged' AND created_ns >= ?) "
        "GROUP BY ALL ORDER BY last DESC, uri",
        (since,),
    ).to_pylist()
    for row in _told(rows, ("state", "site")):
        look = "lwd logs retry" if row["state"] == "quarantined" else "lwd logs --state salvaged"
        yield InboxItem(row["state"], row["uri"], row["reason"], look, row["last"], row["n"])


def _told(rows: list[Row], alike: tuple[str, ...]) -> Iterator[Row]:
    """The rows, but for those after the first ``EACH``: these are put together where they are alike."""
    yield from rows[:EACH]
    rest: dict[tuple[Any, ...], Row] = {}
    for row in rows[EACH:]:
        kept = rest.setdefault(tuple(row[name] for name in alike), row | {"n": 0, "reasons": 0})
        kept["n"] += row["n"]
        kept["reasons"] += 1
    yield from (row | {"reason": f"{row['reason']}, and {row['reasons'] - 1} other reasons"}
                for row in rest.values())  # fmt: skip


def _checks(lake: Lake, since: int) -> Iterator[InboxItem]:
    """Checks that failed, by check; a *risk* is a matter of taste and not told."""
    rows: list[Row] = lake.sql(
        "SELECT l.layer_id, coalesce(l.\"check\", '') AS name, count(DISTINCT l.episode_id) AS n, "
        "max(l.created_ns) AS last, arg_max(l.episode_id, l.created_ns) AS episode, "
        "arg_max(coalesce(l.detail, ''), l.created_ns) AS detail FROM labels l "
        "WHERE l.kind = 'quality' AND l.text = 'fail' AND l.created_ns >= ? AND l.replaced_ns IS NULL "
        "AND NOT starts_with(name, 'risk.') GROUP BY ALL ORDER BY n DESC, l.layer_id, name",
        (since,),
    ).to_pylist()
    for row in rows:
        what = f"{row['layer_id']}:{row['name']}" if row["name"] else row["layer_id"]
        says = f"{row['n']} episodes fail it" + (f"; {row['detail']}" if row["detail"] else "")
        look = f"lwd episode show {row['episode'][:12]}"
        yield InboxItem("check", what, says, look, row["last"], row["n"])


def _policies(lake: Lake, since: int) -> Iterator[InboxItem]:
    """Policies that a canary took back, and those the gate keeps off every channel."""
    back: list[Row] = lake.sql(
        "SELECT policy_id, evidence, created_ns FROM releases "
        "WHERE state = 'rolled_back' AND created_ns >= ? ORDER BY created_ns DESC",
        (since,),
    ).to_pylist()
    for row in back:
        said = json.loads(row["evidence"] or "{}")
        why = str(said.get("reason") or said.get("why") or "somebody took it back")
        what = row["policy_id"]
        yield InboxItem("rolled back", what, why, f"lwd policy show {what[:12]}", row["created_ns"])
    held = recorded(lake, Channel.PRODUCTION)
    waiting: list[Row] = lake.sql(
        "SELECT policy_id, created_ns FROM policies WHERE created_ns >= ? "
        "AND policy_id NOT IN (SELECT policy_id FROM releases) "
        "AND policy_id IN (SELECT policy_id FROM evaluations) ORDER BY created_ns DESC LIMIT ?",
        (since, EACH),
    ).to_pylist()
    for row in waiting if held else ():
        verdict = gate(lake, row["policy_id"], held.policy_id if held else None)
        if not verdict.passed:
            look = f"lwd policy diff production {row['policy_id'][:12]}"
            yield InboxItem("gate", row["policy_id"], verdict.reason, look, row["created_ns"])


def _canary(lake: Lake, now_ns: int) -> Iterator[InboxItem]:
    """A canary that has waited long, or whose verdict nobody has carried out."""
    found = standing(lake)
    if found is None:
        return
    old = now_ns - found.canary.created_ns >= UNDECIDED_DAYS * _DAY_NS
    verdict = found.verdict
    if verdict.decision is not Decision.WAIT or old:
        says = f"{verdict.decision}: {verdict.reason} ({verdict.episodes} episodes)"
        policy, since = found.canary.policy_id, found.canary.created_ns
        yield InboxItem("canary", policy, says, "lwd policy judge", since, max(1, verdict.episodes))


def _judged(lake: Lake, since: int) -> Iterator[InboxItem]:
    """Where two people differ, one by one, and how often a critic or model differs from the outcome."""
    for one in disagreements(lake, limit=EACH):
        says, look = f"{one.kind}: {one.said}", f"lwd episode show {one.episode_id[:12]}"
        yield InboxItem("disagreement", one.episode_id, says, look, one.last_ns)
    day = datetime.fromtimestamp(max(since, 0) / 1e9, UTC).strftime("%Y-%m-%d")
    first: list[Row] = queue(lake, "doubts", limit=1, since=day).to_pylist()
    if first:
        says = f"{first[0]['wait']} episodes of which a critic or model says otherwise; {first[0]['why']}"
        look, when = f"lwd label queue doubts --since {day}", first[0]["start_ns"]
        yield InboxItem("doubts", first[0]["episode_id"], says, look, when, first[0]["wait"])
