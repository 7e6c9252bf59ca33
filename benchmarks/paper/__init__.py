"""The paper's table in simulation: every row on the same data, cell by cell, resumable."""
