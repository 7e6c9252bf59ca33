"""The episode lake: tables and frames, queries, history, upkeep."""
