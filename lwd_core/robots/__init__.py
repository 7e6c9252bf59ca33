"""What the platform knows of each robot and asks of it: who is enrolled, what is wanted, what it said."""
