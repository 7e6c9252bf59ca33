"""Robots: the protocol, the actor loop, the supervisor, simulated robots."""
