"""An instruction as tokens, in the words each kind was trained with."""
