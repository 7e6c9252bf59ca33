"""Whether what a robot says and shows is something to drive by: whole, and of now."""

from collections import Counter
from dataclasses import replace

import numpy as np

from lwd_core.fleet.eyes import CameraFault
from lwd_core.fleet.rig import ControlRules, Rig, SafeStop
from lwd_core.fleet.robot import Action, Observed, RobotPolicy


class Senses:
    """Those of one rig; ``who`` stands for the robot in what is said."""

    def __init__(self, rig: Rig, who: str, rules: ControlRules) -> None:
        self._embodiment, self._who, self._rules = rig.embodiment, who, rules
        self._known = tuple(camera.name for camera in rig.embodiment.cameras)
        self._required = {camera.name for camera in rig.embodiment.cameras if camera.required}

    def state(self, observed: Observed, now: int) -> Observed:
        """The same with a copy of its state. Raises `SafeStop` for one that is not of the file's dims, not
        finite, or not of now."""
        # a copy: the robot may go on writing into its own, and a plan is made beside the loop
        observed = replace(
            observed, state=np.array(observed.state, dtype=np.float64), t_ns=round(observed.t_ns)
        )
        dims = len(self._embodiment.state_dims)
        if observed.state.shape != (dims,):
            raise SafeStop(
                f"{self._who}: its state is {observed.state.shape}, its embodiment file names {dims} dims; "
                "mend one"
            )
        if not np.isfinite(observed.state).all():
            raise SafeStop(f"{self._who}: its state has a number that is none; look after its sensors")
        age_ms = (now - observed.t_ns) / 1e6
        if abs(age_ms) > self._rules.stale_ms:
            raise SafeStop(
                f"{self._who}: its state is {_aged(age_ms)}, more than {self._rules.stale_ms:g}; look "
                "after its connection and clock, or raise `--stale-ms`"
            )
        return observed

    def carried_out(self, told: Action | None, command: Action) -> Action:
        """What the robot made of a command: that, where it says nothing. Raises `SafeStop` for what can be
        none: the next command's limits begin there."""
        if told is None:
            return command
        done = np.asarray(told, np.float64)
        if done.shape != command.shape or not np.isfinite(done).all():
            raise SafeStop(
                f"{self._who}: it says that it carried out {str(told)[:80]}, which is no command of "
                f"{len(command)} numbers; mend what its `act` returns"
            )
        return done

    def cameras(self, observed: Observed, policy: RobotPolicy | None, now: int, counts: Counter[str]) -> None:
        """Raises `CameraFault` for one that is needed and lost; others are counted."""
        needed = self._required | (set(policy.cameras) & set(self._known) if policy else set[str]())
        for camera in self._known:
            picture = observed.pictures.get(camera)
            age_ms = (now - picture.t_ns) / 1e6 if picture else float("inf")
            # one from ahead was taken before a clock was set back, and would look new for as long
            if abs(age_ms) <= self._rules.lost_ms:
                continue
            if camera in needed:
                age = f"its picture is {_aged(age_ms)}" if picture else "it shows nothing"
                raise CameraFault(
                    f"{self._who}: camera {camera} is lost ({age}); look after it, or raise `--lost-ms`"
                )
            counts[f"camera_{camera}_lost_ticks"] += 1


def _aged(age_ms: float) -> str:
    return f"{age_ms:.0f} ms old" if age_ms >= 0 else f"{-age_ms:.0f} ms ahead of this clock"
