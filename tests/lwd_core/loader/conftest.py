from tests.lwd_core.snapshots.conftest import fleet, lake

__all__ = ["fleet", "lake"]
