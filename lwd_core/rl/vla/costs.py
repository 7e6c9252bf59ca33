"""What a network costs by arithmetic: numbers, memory, products. Nothing here was measured."""

from dataclasses import dataclass

from lwd_core.rl.vla.checkpoint import new_model
from lwd_core.rl.vla.config import VlaConfig

#: Passes of the expert in one update of QAM with T steps, a pass forward counted as one and back by inputs or
#: by weights as one more each: θ along the path and back (3 T), β's step at its end, its products back along
#: the path (2 T), and its velocities there (T).
QAM_PASSES = 6


@dataclass(frozen=True)
class Costs:
    """vision, text, expert: numbers that a network has, its embeddings among the text's. tokens: of a prefix.
    kept: bytes of a sample's keys and values in bfloat16. prefix, forward: floating-point operations of the
    frozen backbone and of one pass of the expert, for one sample.
    """

    vision: int
    text: int
    expert: int
    tokens: int
    kept: int
    prefix: float
    forward: float

    @classmethod
    def of(cls, config: VlaConfig) -> "Costs":
        model = new_model(config, device="meta")
        text, expert, vision = config.sizes.text, config.sizes.expert, config.sizes.vision
        learned = sum(p.numel() for p in model.expert_parameters())
        seen = sum(p.numel() for p in model.vision.parameters())
        whole = sum(p.numel() for p in model.parameters())
        embedded = model.text.embed_tokens.weight.numel()
        smol = config.kind == "smolvla"
        tokens = len(config.cameras) * config.sizes.picture_tokens + config.prompt_length + smol
        own = config.chunk + (config.kind == "pi0")
        width = text.heads * text.head_dim
        pictures = len(config.cameras) * (
            2 * vision.patches * seen + 4 * vision.layers * vision.patches**2 * vision.width
        )
        read = 2 * tokens * (whole - seen - learned - embedded) + 4 * text.layers * tokens**2 * width
        acts = 2 * own * learned + 4 * expert.layers * own * (tokens + own) * width
        kept = 2 * 2 * text.layers * tokens * text.kv_heads * text.head_dim
        return cls(seen, whole - seen - learned, learned, tokens, kept, float(pictures + read), float(acts))

    def cloning(self) -> float:
        """Operations of an update's sample by flow matching: the prefix, and the expert there and back."""
        return self.prefix + 3 * self.forward

    def qam(self, steps: int = 10) -> float:
        """Operations of an update's sample by QAM; its critic's come on top."""
        return self.prefix + (QAM_PASSES * steps + 1) * self.forward

    def memory(self, *, learners: int = 1, copies: int = 3, frozen_bytes: int = 2) -> float:
        """Bytes of weights and optimisers, expert only: ``copies`` of it in float32, and for each of the
        ``learners`` among them a gradient and two moments. Activations come on top."""
        frozen = (self.vision + self.text) * frozen_bytes
        return frozen + 4.0 * self.expert * (copies + 3 * learners)
