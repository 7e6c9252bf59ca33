"""Write one episode as the robot's own log: MCAP with the messages of ``robot_log.proto``.

The bytes depend on what is recorded and nothing else. While an episode runs its log has a
temporary name; what a killed robot leaves under that name is a truncated log, good up to its
last chunk.
"""

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import TracebackType

from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from google.protobuf.message import Message
from mcap.well_known import MessageEncoding
from mcap.writer import CompressionType, Writer
from mcap_protobuf.schema import build_file_descriptor_set

from lwd_core.errors import UserError, suggest
from lwd_core.fleet.robot import RobotSpec
from lwd_core.logs.proto.robot_log_pb2 import Control, Event, Vector
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome, Source

PROFILE = "lwd"
METADATA = "lwd.robot"
PARTIAL = ".part"

# A robot that dies loses at most what is not yet a chunk: less than a second, however slow it is.
_CHUNK_BYTES = 32 * 1024
_NS = 1_000_000_000
_CHUNK_NS = _NS


class Recorder:
    """The log of one episode, a context: leaving it finishes the log, leaving by an error keeps it truncated.

    Times are the robot's clock, ns since epoch. ``path`` is the finished name, ``policy_id`` what drives.
    After ``begin`` and before ``end``, ``state``, ``control`` and ``executed`` of a tick carry its time.
    Widths and units are the robot's own; its embodiment file says which.
    """

    def __init__(self, path: str | Path, robot: RobotSpec, policy_id: str | None = None) -> None:
        self.path = path = Path(path)
        self._partial = path.with_name(path.name + PARTIAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._partial, "wb")  # noqa: SIM115 - closed in __exit__
        self._writer = Writer(
            self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD, enable_crcs=True
        )
        self._writer.start(profile=PROFILE, library=robot.software)
        self._writer.add_metadata(
            METADATA,
            {
                "robot_id": robot.robot_id,
                "site": robot.site,
                "embodiment": robot.embodiment,
                "software": robot.software,
                "policy_id": policy_id or "",
            },
        )
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        self._flushed_ns: int | None = None

    def begin(
        self,
        t_ns: int,
        task: str,
        *,
        instruction: str = "",
        source: Source | str = Source.ROLLOUT,
        **notes: str,
    ) -> None:
        """The episode starts: its task, what the robot is told (the task's name by default), why it is run.

        ``notes`` become the episode's ``attributes``. Raises `UserError` for a ``source`` there is none of.
        """
        told = {"task": task, "instruction": instruction or task, "source": _word(Source, source)}
        self.event(t_ns, "episode_start", {**told, **notes})

    def end(
        self,
        t_ns: int,
        success: bool | None = None,
        *,
        end: EpisodeEnd | str = EpisodeEnd.TERMINATED,
        by: str = "",
        **notes: str,
    ) -> None:
        """The episode is over; ``success`` None: nobody knows. Record the last state at this moment too.

        ``by``: who says so, ``person`` for a word that stands above the robot's. ``notes`` join the episode's
        ``attributes``.
        """
        if success is not None:
            said = {"by": by} if by else {}
            self.event(t_ns, str(Outcome.SUCCESS if success else Outcome.FAILURE), said)
        self.event(t_ns, "episode_end", {"end": _word(EpisodeEnd, end), **notes})

    def state(self, t_ns: int, values: Iterable[float], measured_ns: int | None = None) -> None:
        """What the robot observed, (S,) numbers; ``measured_ns``: when, where that is not the tick's own
        time."""
        self._vector("/state", t_ns, values, measured_ns)

    def executed(self, t_ns: int, values: Iterable[float]) -> None:
        """The action that was carried out, (D,) numbers."""
        self._vector("/action/executed", t_ns, values)

    def proposed(self, t_ns: int, values: Iterable[float]) -> None:
        """The action the policy proposed, (D,) numbers."""
        self._vector("/action/proposed", t_ns, values)

    def control(self, t_ns: int, actor: Actor | str, policy_id: str = "", operator: str = "") -> None:
        """Who chose the executed action, ``human`` or ``policy``; empty texts where nobody.

        Raises `UserError` for another word.
        """
        message = Control(actor=_word(Actor, actor), policy_id=policy_id, operator=operator)
        self._stamped("/actor", t_ns, message)

    def event(self, t_ns: int, kind: str, attributes: Mapping[str, str]) -> None:
        """Something that happened, of any kind the embodiment file's events name."""
        self._stamped("/event", t_ns, Event(kind=kind, attributes=attributes))

    def image(self, t_ns: int, camera: str, jpeg: bytes, taken_ns: int | None = None) -> None:
        """One frame of a camera, JPEG bytes; ``taken_ns``: when it was taken, where it came later."""
        message = CompressedImage(frame_id=camera, data=jpeg, format="jpeg")
        self._stamped(f"/camera/{camera}", t_ns, message, taken_ns)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._writer.finish()
        finally:  # an open file of a full disk keeps it full
            self._file.close()
        if kind is None:
            os.replace(self._partial, self.path)

    def _vector(self, topic: str, t_ns: int, values: Iterable[float], own_ns: int | None = None) -> None:
        self._stamped(topic, t_ns, Vector(values=values), own_ns)

    def _stamped(
        self,
        topic: str,
        t_ns: int,
        message: Vector | Control | Event | CompressedImage,
        own_ns: int | None = None,
    ) -> None:
        stamp = t_ns if own_ns is None else own_ns
        message.timestamp.seconds, message.timestamp.nanos = divmod(stamp, _NS)
        channel = self._channels.get(topic) or self._register(topic, type(message))
        sequence = self._sequence[topic] = self._sequence.get(topic, -1) + 1
        self._writer.add_message(
            channel_id=channel,
            log_time=t_ns,
            publish_time=t_ns,
            sequence=sequence,
            # a map has no order of its own
            data=message.SerializeToString(deterministic=True),
        )
        if self._flushed_ns is None:
            self._flushed_ns = t_ns
        if abs(t_ns - self._flushed_ns) >= _CHUNK_NS:  # by the log's time, so that the bytes follow from it
            self._flushed_ns = t_ns
            self._writer.flush()
        self._file.flush()

    def _register(self, topic: str, kind: type[Message]) -> int:
        name = kind.DESCRIPTOR.full_name
        if name not in self._schemas:
            self._schemas[name] = self._writer.register_schema(name, "protobuf", _descriptors(kind))
        self._channels[topic] = self._writer.register_channel(
            topic, MessageEncoding.Protobuf, self._schemas[name]
        )
        return self._channels[topic]


def _word(vocabulary: type[StrEnum], word: str) -> str:
    if word not in tuple(vocabulary):
        raise UserError(f"{vocabulary.__name__.lower()} {word!r}: no such word{suggest(word, vocabulary)}")
    return str(word)


@cache
def _descriptors(kind: type[Message]) -> bytes:
    return build_file_descriptor_set(kind).SerializeToString(deterministic=True)


def rescue(folder: Path) -> list[Path]:
    """Give the truncated logs a dead robot left in its folder their names; return them. Empty ones, as a full
    disk leaves them, go.

    Only for the robot itself, before it starts a new episode: a running one's log looks the same.
    """
    rescued: list[Path] = []
    for partial in sorted(folder.glob(f"*.mcap{PARTIAL}")):
        if not partial.stat().st_size:
            partial.unlink()
            continue
        path = partial.with_name(partial.name.removesuffix(PARTIAL))
        os.replace(partial, path)
        rescued.append(path)
    return rescued
