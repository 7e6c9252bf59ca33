"""LeRobot's robots and teleoperators as 0.4.4 and 0.6.2 have them, by names and signatures."""
