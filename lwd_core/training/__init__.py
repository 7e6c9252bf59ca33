"""The stages sft, offline and online: checkpoints, resume, device, reporting."""
