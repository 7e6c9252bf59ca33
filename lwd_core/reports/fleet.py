"""What the fleet page shows, before anyone draws it: robots, policies, rates over time, values that fell.

Everything comes from the lake, the release channels and what robots last said; demonstrations and play are
not the policies' work and are left out of the rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lwd_core.lake.store import Lake
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.reports.agreement import Agreement, agreement
from lwd_core.reports.findings import ValueCurve, value_layer
from lwd_core.reports.inbox import InboxItem, inbox
from lwd_core.robots.standing import RobotNow

#: Points a line of a rate over time has at most.
BINS = 8
#: Policies with a line of their own; the rest share one.
LINES = 5
OTHERS = "others"
#: Newest episodes among which those whose value fell are looked for.
_JUDGED = 500
#: What a fall is at least, of a value that lies in [0, 1].
_NOTABLE = 0.05
_WORK = "source IN ('rollout', 'online')"


@dataclass(frozen=True)
class RobotRow:
    """One robot: what it did, and what it runs."""

    robot_id: str
    site: str
    episodes: int
    success: Rate
    interventions: int
    human_share: float
    policy_id: str | None
    last_ns: int


@dataclass(frozen=True)
class PolicyRow:
    """One policy that robots ran or are about to: where it stands, and how its episodes went."""

    policy_id: str
    stage: str
    train_step: int
    channels: tuple[str, ...]  # that hold it now
    rolled_back: bool
    robots: int
    success: Rate
    intervened: Rate
    first_ns: int | None  # None: released, and not run yet


@dataclass(frozen=True)
class Point:
    """Episodes of one task and policy within a span of time.

    ``place`` is the middle one's number among all of the fleet's, in time.
    """

    place: int
    start_ns: int
    success: Rate
    intervened: Rate


@dataclass(frozen=True)
class Fall:
    """A value curve and the span in which it fell most."""

    curve: ValueCurve
    first: int  # index into the curve
    last: int

    @property
    def depth(self) -> float:
        """How far it fell."""
        return self.curve.values[self.first] - self.curve.values[self.last]


@dataclass(frozen=True)
class FleetFindings:
    """The whole page. ``rates``: task to policy to points, policies in the order they came."""

    robots: tuple[RobotRow, ...]
    policies: tuple[PolicyRow, ...]
    rates: Mapping[str, Mapping[str, Sequence[Point]]]
    falls: tuple[Fall, ...]
    inbox: tuple[InboxItem, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    enrolled: tuple[RobotNow, ...] = ()


def collect_fleet(
    lake: Lake, channels: Mapping[str, str], *, now_ns: int = 0, enrolled: tuple[RobotNow, ...] = ()
) -> FleetFindings:
    """Read everything the page shows. ``channels``: what each release channel holds, by policy id;
    ``enrolled``: how the enrolled robots stand.

    What needs a person's eye is what does so at ``now_ns``; whatever ever did without.
    """
    policies = _policies(lake, channels)
    return FleetFindings(
        robots=_robots(lake),
        policies=policies,
        rates=_rates(lake, policies),
        falls=falls(lake),
        inbox=tuple(inbox(lake, now_ns=now_ns)),
        agreement=tuple(agreement(lake)),
        enrolled=enrolled,
    )


def _robots(lake: Lake) -> tuple[RobotRow, ...]:
    rows = lake.sql(
        "SELECT robot_id, any_value(site ORDER BY start_ns DESC) AS site, count(*) AS n, "
        "count(*) FILTER (outcome = 'success') AS ok, sum(interventions)::BIGINT AS interventions, "
        "sum(human_steps) / greatest(sum(steps), 1) AS share, arg_max(policy_id, start_ns) AS policy_id, "
        f"max(end_ns) AS last_ns FROM episodes WHERE {_WORK} GROUP BY robot_id ORDER BY robot_id"
    ).to_pylist()
    return tuple(
        RobotRow(r["robot_id"], r["site"], r["n"], wilson(r["ok"], r["n"]), r["interventions"], r["share"],
                 r["policy_id"], r["last_ns"])
        for r in rows
    )  # fmt: skip


def _policies(lake: Lake, channels: Mapping[str, str]) -> tuple[PolicyRow, ...]:
    rows = lake.sql(
        "WITH ran AS (SELECT policy_id, count(*) AS n, count(*) FILTER (outcome = 'success') AS ok, "
        "count(*) FILTER (interventions > 0) AS helped, count(DISTINCT robot_id) AS robots, "
        f"min(start_ns) AS first_ns FROM episodes WHERE {_WORK} AND policy_id IS NOT NULL GROUP BY ALL) "
        "SELECT r.policy_id, r.n, r.ok, r.helped, r.robots, r.first_ns, "
        "coalesce(p.stage, '') AS stage, coalesce(p.train_step, 0) AS train_step, "
        "r.policy_id IN (SELECT policy_id FROM releases WHERE state = 'rolled_back') AS rolled_back "
        "FROM (FROM ran UNION ALL BY NAME SELECT policy_id, 0 AS n, 0 AS ok, 0 AS helped, 0 AS robots, "
        "FROM policies WHERE list_contains(?, policy_id) AND policy_id NOT IN (SELECT policy_id FROM ran)) r "
        "LEFT JOIN policies p USING (policy_id) ORDER BY r.first_ns NULLS LAST",
        (sorted(channels.values()),),
    ).to_pylist()
    return tuple(
        PolicyRow(
            r["policy_id"],
            r["stage"],
            r["train_step"],
            tuple(sorted(name for name, held in channels.items() if held == r["policy_id"])),
            r["rolled_back"],
            r["robots"],
            wilson(r["ok"], r["n"]),
            wilson(r["helped"], r["n"]),
            r["first_ns"],
        )
        for r in rows
    )


def _rates(lake: Lake, policies: Sequence[PolicyRow]) -> dict[str, dict[str, list[Point]]]:
    """Each task's episodes, in time, cut into bins; policies with few episodes share a line."""
    most = sorted(policies, key=lambda p: -p.success.trials)[:LINES]
    named = {p.policy_id for p in most}
    rows = lake.sql(
        "SELECT row_number() OVER (ORDER BY start_ns, episode_id) AS place, task, policy_id, start_ns, "
        "outcome = 'success' AS ok, interventions > 0 AS helped "
        f"FROM episodes WHERE {_WORK} AND policy_id IS NOT NULL ORDER BY start_ns"
    ).to_pylist()
    groups: dict[str, dict[str, list[dict]]] = {}
    for row in rows:
        line = row["policy_id"] if row["policy_id"] in named else OTHERS
        groups.setdefault(row["task"], {}).setdefault(line, []).append(row)
    tasks = sorted(groups)
    return {t: {line: _points(own) for line, own in groups[t].items()} for t in tasks}


def _points(rows: Sequence[Mapping]) -> list[Point]:
    """Bins of equally many episodes, ten or more where there are so many."""
    count = max(1, min(BINS, len(rows) // 10))
    parts = [[rows[i] for i in part] for part in np.array_split(np.arange(len(rows)), count)]
    return [
        Point(
            part[len(part) // 2]["place"],
            part[len(part) // 2]["start_ns"],
            wilson(sum(r["ok"] for r in part), len(part)),
            wilson(sum(r["helped"] for r in part), len(part)),
        )
        for part in parts
    ]


def falls(lake: Lake, count: int = 6) -> tuple[Fall, ...]:
    """Of each task the episode whose learned value fell furthest, the deepest first; small falls are none."""
    curves = value_layer(lake, newest=_JUDGED)
    found = [fall for c in curves if (fall := steepest(c)) is not None and fall.depth >= _NOTABLE]
    best: dict[str, Fall] = {}
    for fall in sorted(found, key=lambda f: -f.depth):
        best.setdefault(fall.curve.task, fall)
    return tuple(sorted(best.values(), key=lambda f: -f.depth)[:count])


def steepest(curve: ValueCurve, window: int = 20) -> Fall | None:
    """The span of at most ``window`` control ticks with the deepest fall; None where there is none."""
    values, steps = np.asarray(curve.values), np.asarray(curve.steps)
    best: tuple[float, int, int] = (0.0, 0, 0)
    for first in range(len(values) - 1):
        last = int(np.searchsorted(steps, steps[first] + window, side="right")) - 1
        lowest = first + int(values[first : last + 1].argmin())
        depth = float(values[first] - values[lowest])
        if depth > best[0]:
            best = (depth, first, lowest)
    return Fall(curve, best[1], best[2]) if best[0] > 0 else None
