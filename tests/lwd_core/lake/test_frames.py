"""Tar shards of frames: the headers tarfile would make, whatever the name and size."""

import tarfile

from hypothesis import given
from hypothesis import strategies as st

from lwd_core.lake.frames import extension, header, utc_day

NAMES = st.text("abcXYZ019._-", min_size=1, max_size=100)


@given(NAMES, st.integers(0, 8**11 - 1))
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_kinds_and_days() -> None:
    assert [extension(d) for d in (b"\xff\xd8\xff\xe0", b"\x89PNG\r", b"RIFF", b"")] == [
        "jpg", "png", "webp", "bin",
    ]  # fmt: skip
    assert utc_day(1_767_225_599_999_999_999) == "2025-12-31"
    assert utc_day(2**62 * 1000) == "1970-01-01"
