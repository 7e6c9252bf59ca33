"""What robots say of their logs: a line as each lands, a count at the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from lwd_core.cli._output import say_json
from lwd_core.interrupt import stopped

if TYPE_CHECKING:
    from lwd_core.fleet.actor import Delivered
    from lwd_core.fleet.episode import Ran
    from lwd_core.fleet.robot import RobotSpec
    from lwd_core.fleet.upload import Landed


def landed_line(robot: "RobotSpec", log: "Landed", ran: "Ran | None") -> str:
    """Of one log; without its episode it is one that an earlier process left."""
    if ran is None:
        return f"{robot.robot_id} late: {log.uri}"
    driven = f"{ran.human_steps} by a person" if ran.human_steps else "none by a person"
    policy = f", {ran.policy_id}" if ran.policy_id else ""
    return f"{robot.robot_id} {ran.task} {ran.outcome} {ran.steps} ticks, {driven}{policy}"


def say_delivered(delivered: "Sequence[Delivered]", landing: str, as_json: bool) -> None:
    """Of all; the command ends here, with its exit code where it was interrupted."""
    done = sum(d.episode.success is True for d in delivered)
    if as_json:
        say_json({"episodes": len(delivered), "successful": done, "landing": landing})
    else:
        typer.echo(f"{len(delivered)} episodes, {done} successful, in {landing}")
    if code := stopped():
        raise typer.Exit(code)
