"""Orchestration only: what runs when, over what partition, with what checks. No arithmetic."""
