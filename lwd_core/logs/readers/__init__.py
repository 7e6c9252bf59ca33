"""Readers of raw log formats, one format a module with its helpers beside it."""
