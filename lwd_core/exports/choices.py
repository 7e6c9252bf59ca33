"""What a person chooses of an export."""

from enum import StrEnum


class MixedCameras(StrEnum):
    """What becomes of episodes whose cameras, or their sizes, differ: one set all the same, a set for each
    kind, or an error that says so."""

    REFUSE = "refuse"
    PAD = "pad"
    GROUP = "group"


class VideoCodec(StrEnum):
    """How films are written: H.264 plays everywhere, AV1 is smaller and slower to make."""

    H264 = "h264"
    AV1 = "av1"
