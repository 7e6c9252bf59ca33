"""Camera pictures as the networks saw them in training: aspect kept, padded with black, in [-1, 1]."""
