"""A robot's line to the platform: up, or down for a while."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from lwd_core.errors import UserError


@dataclass(frozen=True)
class Outages:
    """Robots lose their line now and then, each by itself.

    In every stretch of ``length_s`` a robot is offline with probability ``share``; which stretches,
    follows from its id and the time alone.
    """

    share: float = 0.0
    length_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.length_s <= 0:
            raise UserError("outages: share must lie in [0, 1] and length_s be positive")

    def online(self, robot_id: str, now_ns: int) -> bool:
        """Whether the robot reaches the platform at this moment."""
        stretch = now_ns // round(self.length_s * 1e9)
        luck = hashlib.sha256(f"{robot_id}/{stretch}".encode()).digest()[:8]
        return int.from_bytes(luck, "big") / 2**64 >= self.share


@contextmanager
def over_the_line() -> Generator[None, None, None]:
    """Whatever keeps a robot from a folder or a bucket, as OSError; S3's client has errors of its own."""
    try:
        yield
    except Exception as error:
        # told by name: a robot that talks to no bucket has no S3 client
        if not any(
            c.__module__ == "botocore.exceptions" and c.__name__ == "BotoCoreError"
            for c in type(error).__mro__
        ):
            raise
        raise ConnectionError(str(error)) from error
