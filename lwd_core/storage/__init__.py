"""Where bytes lie: folders and buckets alike, written whole, taken once, locked by name."""
