"""The `lwd` command: thin commands over the packages beside it."""
