raise ImportError("no reachy2_sdk here")
