"""LeRobot's interface as its 0.4.4 and 0.6.2 have it: names and signatures of its robots and teleoperators."""
