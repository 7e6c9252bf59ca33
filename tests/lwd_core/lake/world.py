"""A home with a landing zone and a lake, and what the tests do in it."""

from collections.abc import Sequence
from pathlib import Path

from lwd_core.erasure.erase import Erased, erase
from lwd_core.erasure.pending import pending
from lwd_core.erasure.plan import Plan, plan
from lwd_core.ingest.commit import IngestResult, ingest
from lwd_core.ingest.remap import Remapped, outdated, remap
from lwd_core.lake.kept_frames import Moved
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.reissue import reissue_all
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from storage_schemas.embodiment import Dim, Embodiment, Feature
from tests.lwd_core.lake.fake_logs import read_fake

SHOWN = ("logs", "episodes", "steps", "segments", "labels", "snapshots", "snapshot_members")
SAWYER = Embodiment("sawyer", 80.0, (Feature("/state", (Dim("q"),)),))
NOW = 1_767_300_000_000_000_000


class World:
    def __init__(self, root: Path | str) -> None:
        self.settings = Settings(home=str(root))
        self.landing_place = open_location(self.settings.landing)
        if not self.landing_place.remote:
            self.landing = Path(self.settings.landing)
            self.landing.mkdir(parents=True, exist_ok=True)
        self.lake = Lake.open(self.settings.lake, create=True)

    def ingest(self, *paths: Path | str, **other: object) -> IngestResult:
        where = [str(path) for path in paths or [self.settings.landing]]
        return ingest(
            self.lake, self.settings, where, embodiments={}, now_ns=NOW, reader=read_fake,
            **other,  # type: ignore[arg-type]
        )  # fmt: skip

    def remap(self, **other: int) -> Remapped:
        """Read every log again by a mapping that gives other numbers."""
        return remap(
            self.lake, self.settings, outdated(self.lake, {}), embodiments={"sawyer": SAWYER}, now_ns=NOW,
            reader=read_fake, **other,
        )  # fmt: skip

    def snapshot(self, name: str = "s", **spec: object) -> Snapshot:
        return build_snapshot(
            self.lake, SnapshotSpec.parse({"name": name, **spec}), self.settings.snapshots, now_ns=NOW
        )

    def plan(self, *episodes: str, whole_log: bool = False, also_delete: Sequence[str] = ()) -> Plan:
        return plan(self.lake, self.settings.landing, episodes, whole_log=whole_log, also_delete=also_delete)

    def pending(self) -> list[Plan]:
        return pending(self.lake, self.settings.landing)

    def erase(self, what: Plan) -> Erased:
        def again(erased: frozenset[str], moved: Moved) -> dict[str, str | None]:
            return reissue_all(self.lake, self.settings.snapshots, erased=erased, moved=moved, now_ns=NOW)

        return erase(self.lake, what, reissue=again, now_ns=NOW, pages=self.settings.reports)

    def tables(self) -> dict[str, list[dict]]:
        return {name: self.lake.sql(f"SELECT * FROM {name} ORDER BY ALL").to_pylist() for name in SHOWN}
