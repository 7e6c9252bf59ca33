"""Which robots a fleet has, and what they are asked to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.task import find_tasks
from lwd_core.fleet.workcells import DEFAULT, Workcells
from storage_schemas.vocabulary import Channel

_NS = 1_000_000_000


@dataclass(frozen=True)
class FleetConfig:
    """The robots, and what they are asked to do.

    ``robot`` names their type, as in the door ``lwd.robots`` or ``module:Class``. Robots that don't say what
    they are and run are what their type says.
    """

    robots: tuple[RobotSpec, ...]
    tasks: tuple[str, ...]
    robot: str = DEFAULT

    def __post_init__(self) -> None:
        ids = [robot.robot_id for robot in self.robots]
        if not ids:
            raise UserError("fleet: no robots; name at least one")
        if len(set(ids)) != len(ids):
            raise UserError("fleet: two robots share an id; ids must differ")
        cells = Workcells(self.robot)
        find_tasks(cells.tasks, self.tasks)
        object.__setattr__(self, "robots", tuple(map(cells.of_type, self.robots)))


def sample_fleet(
    tasks: Iterable[str],
    *,
    robots: int = 16,
    sites: Sequence[str] = ("north", "south"),
    cameras: int = 2,
    camera_hz: float = 5.0,
    camera_size: int = 0,
    robot: str = DEFAULT,
) -> FleetConfig:
    """A fleet of ``robots`` spread over ``sites``; the first ``cameras`` of them are photographed
    ``camera_hz`` times a second. ``camera_size`` is every robot's, see `RobotSpec`."""
    specs = (
        RobotSpec(
            f"arm-{i:02d}",
            sites[i % len(sites)],
            camera_hz=camera_hz if i < cameras else 0.0,
            camera_size=camera_size,
        )
        for i in range(robots)
    )
    return FleetConfig(tuple(specs), tuple(tasks), robot)


def on_canary(fleet: FleetConfig, *, share: float = 0.0, site: str | None = None) -> FleetConfig:
    """The fleet with a share of its robots, spread over the sites, or a whole site on the canary channel.

    Raises UserError for a site without robots.
    """
    if site is not None and site not in {robot.site for robot in fleet.robots}:
        raise UserError(f"canary site {site!r}: no robot stands there")
    chosen = round(share * len(fleet.robots))
    robots = (
        replace(robot, channel=Channel.CANARY) if i < chosen or robot.site == site else robot
        for i, robot in enumerate(fleet.robots)
    )
    return replace(fleet, robots=tuple(robots))


def with_clocks_off(fleet: FleetConfig, *, up_to_s: float) -> FleetConfig:
    """The fleet with clocks off by different amounts between ``-up_to_s`` and ``up_to_s``."""
    offsets = np.linspace(-up_to_s, up_to_s, len(fleet.robots)) * _NS
    robots = (
        replace(robot, clock_offset_ns=round(o)) for robot, o in zip(fleet.robots, offsets, strict=True)
    )
    return replace(fleet, robots=tuple(robots))
