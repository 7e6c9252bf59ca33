"""Raw logs of robots and of other projects: readers, topic mapping, alignment."""
