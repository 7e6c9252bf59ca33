"""The published schemas of a robot's own log: robot_log.proto and the module generated from it."""
