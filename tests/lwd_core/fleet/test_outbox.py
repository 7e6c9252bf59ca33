"""A robot without a line for weeks: what goes first, what never goes, and how fast it comes back."""

from pathlib import Path

import pytest

from lwd_core.fleet.episode import Ran
from lwd_core.fleet.outbox import Outbox
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.upload import Backoff, Uplink, land
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source

SIZE = 1000
SPEC = RobotSpec("arm-1", "lab")


class Box:
    """An outbox whose line is down until it is not, and what it said."""

    def __init__(self, root: Path, keeps: int) -> None:
        self.folder, self.said, self.online = root / "spool", [], False
        self.folder.mkdir(exist_ok=True)
        self.settings = Settings(home=str(root), spool_gb=keeps * SIZE / 1e9)
        self.open()

    def open(self) -> None:
        """As after a restart."""
        self.box = Outbox(
            self.settings,
            SPEC,
            self.folder,
            Backoff(1),
            lambda: self.online,
            lambda *_: None,
            self.said.append,
        )

    def ran(self, minute: int, success: bool | None, human: int = 0, size: int = SIZE) -> str:
        log = self.folder / f"20260203T08{minute:02d}00-push.mcap"
        log.write_bytes(bytes([minute]) * size)
        self.box.put(
            Ran("arm-1", "push", minute, Source.ONLINE, "p", success, 10, human, minute * 60 * 10**9, log)
        )
        return log.name

    @property
    def here(self) -> list[str]:
        return [log.name for log in self.box.waiting()]


def test_what_a_person_or_a_failure_taught_never_goes(tmp_path: Path) -> None:
    box = Box(tmp_path, keeps=4)
    corrected = box.ran(0, True, human=3)
    unknown, old, failed, new = box.ran(1, None), box.ran(2, True), box.ran(3, False), box.ran(4, True)
    cut = box.folder / "20260203T080500-push.mcap"
    cut.write_bytes(bytes(SIZE))
    box.open()  # a restart forgets nothing of it
    assert box.box.make_room()
    assert box.here == [corrected, failed, cut.name], "successes first, then what nobody knows of"
    assert box.box.dropped == (3, 3 * SIZE)
    assert len([text for text in box.said if "went for want of room" in text]) == 3
    assert {unknown, old, new}.isdisjoint(box.here)
    box.ran(6, False)
    assert not box.box.make_room(), "only what must not go is left: the robot rests"
    assert len(box.here) == 4
    assert "mend the line, or raise spool_gb" in box.said[-1]
    box.online = True
    box.box.send()
    assert box.here == []
    assert box.box.make_room()
    assert not list(box.folder.glob("*.worth"))


def test_room_is_made_oldest_first_and_no_more_than_is_needed(tmp_path: Path) -> None:
    box = Box(tmp_path, keeps=3)
    names = [box.ran(minute, True) for minute in range(4)]
    assert box.box.make_room()
    assert box.here == names[2:]
    (tmp_path / "other").mkdir()
    unbounded = Box(tmp_path / "other", keeps=0)
    names = [unbounded.ran(minute, True) for minute in range(6)]
    assert unbounded.box.make_room()
    assert unbounded.here == names


@pytest.mark.parametrize(("mbit", "slept"), [(0, 0.0), (8, 0.6)])
def test_an_upload_keeps_to_its_rate(tmp_path: Path, mbit: float, slept: float) -> None:
    log = tmp_path / "run.mcap"
    log.write_bytes(bytes(600_000))
    waits: list[float] = []
    uplink = Uplink.of(Settings(home=str(tmp_path), upload_mbit=mbit), SPEC)
    landed = land(log, str(tmp_path / "landing"), "lab/2026-02-03/arm-1", uplink=uplink, sleep=waits.append)
    assert sum(waits) == pytest.approx(slept)
    assert Path(landed.uri).stat().st_size == landed.bytes == 600_000
