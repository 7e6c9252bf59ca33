"""Where two hands are, and which joints bring one of them somewhere else."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_aloha.engine import mujoco

Vector = npt.NDArray[np.float64]

ARMS = ("left", "right")
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
#: Metres from the gripper's origin to between the tips of its fingers.
REACH = 0.14
#: Metres a finger stands off the middle, shut and open; as in the real robot's software 0 and 1.
SHUT, OPEN = 0.01844, 0.058
#: How far of that the finger's own thickness is.
_THICK = 0.0224

_ITERATIONS, _DAMPING = 8, 3e-2  # damped enough to pass where forearm and wrist turn about one axis
_TURN_WEIGHT = 0.2  # metres a radian is worth


@dataclass(frozen=True)
class Hand:
    """One gripper: between the tips of its fingers, ``at`` (3,) metres; ``turned`` (3, 3), its columns the
    way it points, the way its fingers open and their normal; ``gap`` between them, metres."""

    at: Vector
    turned: Vector
    gap: float

    def seen_from(self, point: Vector) -> Vector:
        """A point (3,) in the hand's own frame."""
        return (point - self.at) @ self.turned


def hands_of(model: Any, data: Any) -> dict[str, Hand]:
    """Both hands as ``data`` has them."""
    found: dict[str, Hand] = {}
    for i, arm in enumerate(ARMS):
        body = data.body(f"vx300s_{arm}/gripper_link")
        turned = body.xmat.reshape(3, 3).copy()
        found[arm] = Hand(
            body.xpos + REACH * turned[:, 0], turned, 2.0 * (float(data.qpos[8 * i + 6]) - _THICK)
        )
    return found


def opening(gap: float) -> float:
    """The gripper's number for a gap between its fingers, metres: 0 shut, 1 open."""
    return (gap / 2 + _THICK - SHUT) / (OPEN - SHUT)


class Reaching:
    """Inverse kinematics by damped least squares, on data of its own."""

    def __init__(self, model: Any) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._bodies = [model.body(f"vx300s_{arm}/gripper_link").id for arm in ARMS]
        self._low, self._high = model.jnt_range[:16].T

    def joints(self, qpos: Vector, arm: int, at: Vector, turned: Vector) -> Vector:
        """The six joints of an arm, radians, that bring its hand to a pose from ``qpos`` (nq,), or near."""
        model, data, own = self._model, self._data, slice(8 * arm, 8 * arm + 6)
        data.qpos[:] = qpos
        jacobian = np.zeros((6, model.nv))
        for _ in range(_ITERATIONS):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            now = data.xmat[self._bodies[arm]].reshape(3, 3)
            tip = data.xpos[self._bodies[arm]] + REACH * now[:, 0]
            mujoco.mj_jac(model, data, jacobian[:3], jacobian[3:], tip, self._bodies[arm])
            off = np.concatenate([at - tip, _TURN_WEIGHT * rotation(now, turned)])
            if np.abs(off).max() < 1e-4:
                break
            j = jacobian[:, own].copy()
            j[3:] *= _TURN_WEIGHT
            step = j.T @ np.linalg.solve(j @ j.T + _DAMPING**2 * np.eye(6), off)
            data.qpos[own] = np.clip(data.qpos[own] + step, self._low[own], self._high[own])
        return data.qpos[own].copy()


def rotation(have: Vector, want: Vector) -> Vector:
    """The rotation vector (3,), radians, that turns one frame (3, 3) into another."""
    quaternions, out = np.zeros((2, 4)), np.zeros(3)
    mujoco.mju_mat2Quat(quaternions[0], np.ascontiguousarray(want @ have.T).ravel())
    mujoco.mju_quat2Vel(out, quaternions[0], 1.0)
    return out


def towards(have: Vector, want: Vector, most: float) -> Vector:
    """The frame ``want``, or on the way there from ``have``, turned by ``most`` radians."""
    way = rotation(have, want)
    angle = float(np.linalg.norm(way))
    if angle <= most:
        return want
    return turn(way / angle, most) @ have


def turn(axis: Vector, angle: float) -> Vector:
    """The rotation (3, 3) by an angle about an axis of length one."""
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
