"""From a landed log to rows of the lake: found, read, checked, committed, accounted for."""
