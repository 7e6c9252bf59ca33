"""Feeding training: batches of transitions from snapshots and from a lake that grows."""
