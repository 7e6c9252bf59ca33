"""Meta-World's arm for those who must look: its state is hand and gripper, all else is in the picture."""

from lwd_core.fleet.robot import Action, State
from lwd_core.fleet.sim.metaworld import CONTROL_HZ, Arm
from lwd_core.fleet.sim.takeover import Teleoperator

CAMERA = "scene"

_VIEW = "corner4"  # nearer than corner2
# Places in the whole state: hand and gripper, now and a tick before.
_OWN = [0, 1, 2, 3, 18, 19, 20, 21]


class ProprioceptiveArm:
    """Implements ``Robot`` and ``Scene``; states (8,). ``whole`` (39,) is what a person beside it sees."""

    control_hz = CONTROL_HZ

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self.whole: State

    def reset(self, seed: int) -> State:
        """The scene of a seed."""
        self.whole = self._arm.reset(seed)
        return self.whole[_OWN]

    def step(self, action: Action) -> tuple[State, bool]:
        """One control tick."""
        self.whole, done = self._arm.step(action)
        return self.whole[_OWN], done

    def photograph(self, size: int = 0) -> dict[str, bytes]:
        """The scene from near by, a JPEG of ``size``², 128² by itself."""
        return {CAMERA: self._arm.picture(_VIEW, size)}

    def person(self) -> "Beside":
        """Somebody who drives it."""
        return Beside(self, Teleoperator(self._arm))


class Beside:
    """Somebody who stands beside the robot and sees what its state does not say; implements ``Person``."""

    def __init__(self, robot: ProprioceptiveArm, driver: Teleoperator) -> None:
        self._robot, self._driver = robot, driver

    def take_over(self, state: State) -> None:
        """Take the controls from a policy."""
        self._driver.take_over(self._robot.whole)

    def drive(self, state: State) -> Action:
        """The action of this tick."""
        return self._driver.drive(self._robot.whole)
