"""Says what renders before a test imports mujoco, which looks only then."""

import lwd_core.fleet.sim.metaworld  # noqa: F401
