"""Labellers: each run writes a layer of its own."""
