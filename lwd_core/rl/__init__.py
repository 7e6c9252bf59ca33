"""Learning algorithms, one a file in the order of its paper."""
