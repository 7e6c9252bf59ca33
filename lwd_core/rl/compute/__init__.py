"""How a machine computes what `lwd_core.rl` says: devices, types, workers."""
