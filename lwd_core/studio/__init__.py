"""`lwd studio`: the lake in a browser, for one person on the loopback address; reading it, and labelling."""
