"""Episodes in the formats of other projects."""
