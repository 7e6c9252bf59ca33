"""Frozen training sets: spec, build, verify, diff, and the loader that feeds training."""
