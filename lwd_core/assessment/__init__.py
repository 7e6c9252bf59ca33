"""Is a run any good: what its critic knows of episodes it never learned from, and what to do about it."""
