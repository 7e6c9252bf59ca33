"""Robots at work: the protocol, the actor loop, the supervisor, what is recorded and uploaded."""
