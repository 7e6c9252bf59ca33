import hashlib
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from moto.server import ThreadedMotoServer

from lwd_core.fleet import upload
from lwd_core.fleet.upload import Backoff, land
from lwd_core.storage.location import Location, open_location


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "spool" / "a.mcap"
    path.parent.mkdir()
    path.write_bytes(b"log")
    return path


def test_a_landed_log_has_its_digest_beside_it_and_leaves_the_robot(tmp_path: Path, log: Path) -> None:
    landed = land(log, str(tmp_path / "landing"), "north/2026-01-01/arm-00")
    path = Path(landed.uri)
    sha256 = hashlib.sha256(b"log").hexdigest()
    assert path.parent == tmp_path / "landing/north/2026-01-01/arm-00"
    assert path.name == f"a-{sha256[:8]}.mcap"
    assert path.read_bytes() == b"log"
    assert path.with_name(path.name + ".sha256").read_text().strip() == sha256 == landed.sha256
    assert not log.exists()
    assert len(list(path.parent.iterdir())) == 2


def test_whoever_sees_a_log_can_know_its_digest(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = Location.write

    def spy(self: Location, *parts: str):
        written.append(parts[-1])
        return write(self, *parts)

    monkeypatch.setattr(Location, "write", spy)
    land(log, str(tmp_path / "landing"), "n/d/r")
    assert [name.endswith(".sha256") for name in written] == [True, False]


def test_landing_the_same_log_again_changes_nothing(tmp_path: Path, log: Path) -> None:
    first = land(log, str(tmp_path / "landing"), "n/d/r")
    before = Path(first.uri).stat().st_mtime_ns
    log.write_bytes(b"log")
    assert land(log, str(tmp_path / "landing"), "n/d/r") == first
    assert Path(first.uri).stat().st_mtime_ns == before


def test_a_log_of_the_same_name_and_other_bytes_does_not_replace_it(tmp_path: Path, log: Path) -> None:
    first = land(log, str(tmp_path / "landing"), "n/d/r")
    log.write_bytes(b"other")
    assert land(log, str(tmp_path / "landing"), "n/d/r").uri != first.uri
    assert Path(first.uri).read_bytes() == b"log"


@pytest.mark.parametrize(
    "problem", [OSError("link down"), EndpointConnectionError(endpoint_url="http://depot")]
)
@pytest.mark.parametrize("failures", [1, 4])
def test_a_broken_link_is_tried_again_after_longer_and_longer_waits(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, failures: int, problem: Exception
) -> None:
    real, left, slept = upload.open_location, [failures], []

    def flaky(root: str) -> Location:
        return real(root)

    def exists(self: Location, *parts: str) -> bool:
        if left[0]:
            left[0] -= 1
            raise problem
        return False

    monkeypatch.setattr(upload, "open_location", flaky)
    monkeypatch.setattr(Location, "exists", exists)
    backoff = Backoff(attempts=5, first_s=1, most_s=3)
    land(log, str(tmp_path / "landing"), "n/d/r", backoff=backoff, sleep=slept.append)
    assert slept == [1, 2, 3, 3][:failures]


def test_a_log_that_cannot_land_stays_on_the_robot(tmp_path: Path, log: Path) -> None:
    (tmp_path / "landing").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="landing"):
        land(log, str(tmp_path / "landing"), "n/d/r", sleep=lambda _: None)
    assert log.exists()


@pytest.mark.servers
def test_a_log_lands_in_a_bucket_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        place = open_location("s3://fleet/landing")
        place.fs.mkdir("fleet")
        landed = land(log, place.root, "n/d/r")
        log.write_bytes(b"log")
        assert land(log, place.root, "n/d/r") == landed
        found = sorted(place.relative(path) for path in place.fs.find(place.root))
        assert found == [f"n/d/r/a-{landed.sha256[:8]}.mcap", f"n/d/r/a-{landed.sha256[:8]}.mcap.sha256"]
        assert place.read(found[0]) == b"log"
        assert place.read(found[1]).decode().strip() == landed.sha256
    finally:
        server.stop()
