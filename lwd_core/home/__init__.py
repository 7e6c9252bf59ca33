"""The front door's objects: a home opened in Python, and logs before there is one."""
