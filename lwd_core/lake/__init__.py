"""The episode lake: storage of tables and frames, ingest, queries, upkeep."""
