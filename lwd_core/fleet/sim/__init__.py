"""Simulated robots: Meta-World's arm, its scenes and tasks, the scripted person at its controls."""
