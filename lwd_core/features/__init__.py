"""Features of camera frames by pretrained backbones: made once, kept beside the frames, alike in acting."""
