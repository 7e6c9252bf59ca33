"""What is like a text, a moment, another episode: exact, a part of the lake in memory at a time."""
