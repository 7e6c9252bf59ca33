"""Erasing episodes from raw logs, tables, frames, snapshots and histories, with proof of absence."""
