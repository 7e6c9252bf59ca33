"""Drafting an embodiment file from a log that nobody described yet."""
