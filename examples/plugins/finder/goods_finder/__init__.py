"""Where each kind of goods stands in a picture, and which of them an order means."""
