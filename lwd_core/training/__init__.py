"""The stages sft, offline and online: checkpoints, resume, workers, reporting."""
