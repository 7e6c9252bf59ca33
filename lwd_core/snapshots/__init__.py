"""Frozen training sets: spec, build, verify, diff."""
