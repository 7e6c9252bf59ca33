"""What a robot's cameras show, and when they are asked.

A policy that sees is shown what its cameras show when it plans, and those very bytes are logged at that
stamp: who learns from the log sees what acted on it. While a person drives beside such a policy, pictures are
taken as often as it would plan, so that a person's turn can be learned from as well.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lwd_core.errors import UserError, suggest
from lwd_core.fleet.robot import Frames, RobotPolicy, RobotSpec, Workcell
from lwd_core.lake.frames import jpeg_size
from lwd_core.loader.jpeg import decode_frame


class CameraFault(UserError):
    """A camera that is needed shows nothing, or nothing that can be used."""


class Eyes:
    """The cameras of one robot during one episode.

    ``shown`` is what a policy that plans now sees, None for one without cameras; ``chunk`` how many ticks its
    plans last, as far as that is known.
    """

    def __init__(self, cell: Workcell, spec: RobotSpec, policy: RobotPolicy | None) -> None:
        self._cell, self._size, self._robot = cell, spec.camera_size, spec.robot_id
        self._policy, self._needs = policy, policy.cameras if policy else ()
        self._every = max(1, round(cell.robot.control_hz / spec.camera_hz)) if spec.camera_hz else 0
        self._last, self._by_person = -1, False
        self.shown: Frames | None = None
        self.chunk = 1

    def open(self, tick: int, *, plans: bool, by_person: bool) -> bool:
        """Whether to look at this tick: the policy plans by what is seen, a turn begins, or it is time.

        Called once a tick, in order.
        """
        every = self._every
        if by_person and self._needs:
            every = min(every, self.chunk) if every else self.chunk
        begins = self._last < 0 or by_person is not self._by_person
        self._by_person = by_person
        due = bool(plans and self._needs) or bool(every and (begins or tick - self._last >= every))
        self._last = tick if due else self._last
        return due

    def look(self) -> dict[str, bytes]:
        """A JPEG of each camera as it is now."""
        frames = photographed(self._cell, self._policy, self._size, robot=self._robot)
        self.shown = frames if self._needs else None
        return {camera: jpeg for camera, jpeg in frames.items() if jpeg is not None}


def photographed(cell: Workcell, policy: RobotPolicy | None, size: int, *, robot: str = "") -> Frames:
    """What all cameras of a robot show now, see `sound_frames`."""
    frames = cell.robot.photograph(size) if size else cell.robot.photograph()
    return sound_frames(frames, cell.cameras, policy, size, robot=robot)


def sound_frames(
    shown: Frames, cameras: Sequence[str], policy: RobotPolicy | None, size: int = 0, *, robot: str = ""
) -> Frames:
    """What cameras show, and None for those a policy needs that are not among the embodiment's ``cameras``.

    Raises `CameraFault` for a camera of the embodiment that is needed and shows nothing, for a picture that
    is no JPEG or not ``size`` pixels a side, and for one that is needed and torn or of another size than the
    policy learned from, so that what a robot plans by is sound before it is asked for together with the
    others'; `UserError` for an embodiment that has none of the cameras.
    """
    needs = policy.cameras if policy else ()
    sizes: Mapping[str, Collection[tuple[int, int]]] = policy.sizes if policy and needs else {}
    who = f"robot {robot}: " if robot else ""
    if needs and not set(needs) & set(cameras):
        raise UserError(
            f"{who}the policy sees {', '.join(needs)}, of which the embodiment file has none"
            f"{suggest(needs[0], cameras)}; name them under `cameras` there, or run another policy"
        )
    frames: dict[str, bytes | None] = dict(shown)
    for camera, jpeg in frames.items():
        try:
            height, width = jpeg_size(jpeg or b"")
            if camera in needs:
                decode_frame(jpeg or b"", np.empty((1, 1, 3), np.uint8))
        except ValueError as error:
            raise CameraFault(
                f"{who}camera {camera} gave {len(jpeg or b'')} bytes that are no JPEG ({error}); "
                "look after it, or run a policy that needs no camera"
            ) from error
        if size and (height, width) != (size, size):
            raise CameraFault(
                f"{who}camera {camera} gave {width}x{height} pixels, camera_size asks for {size}; "
                "set camera_size to what the camera gives, or to 0"
            )
        known = sizes.get(camera, ()) if camera in needs else ()
        if known and (height, width) not in known:
            learned = " or ".join(f"{w}x{h}" for h, w in sorted(known))
            raise CameraFault(
                f"{who}camera {camera} shows {width}x{height} pixels, the policy learned from {learned}; set "
                "the camera to that (a fleet's is `camera_size`, `--camera-size` of its commands)"
            )
    for camera in needs:
        if camera not in frames:
            if camera in cameras:
                raise CameraFault(
                    f"{who}camera {camera} shows nothing, and the policy plans by it; look after it, or run "
                    "a policy that needs no camera"
                )
            frames[camera] = None
    return frames
