"""Models that label: whether an episode succeeded, how far each step had come; trained here, or asked for."""
