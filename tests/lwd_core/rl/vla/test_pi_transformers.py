"""pi0 computes what transformers' own class of it computes."""

from typing import Any

import torch
from transformers import PI0Config, PI0ForConditionalGeneration

from lwd_core.rl.vla.pictures import prepared
from lwd_core.rl.vla.sizes import StackSizes
from tests.lwd_core.rl.vla.golden import INSTRUCTIONS, folder, golden, model, pictures

NAMES = {
    "vision.": "model.vlm.vision_tower.",
    "projector.": "model.vlm.multi_modal_projector.linear.",
    "text.": "model.vlm.language_model.",
    "expert.": "model.dit.",
    "action_out_proj.": "action_out_proj.",
}


def test_chunks_of_pi0_are_those_of_transformers() -> None:
    at, known, ours = folder("pi0"), golden("pi0"), model("pi0")
    theirs = _theirs()
    images, there = prepared(at.config, pictures("pi0"))
    state = at.statistics.state(known["state"])
    words, mask = at.prompter(INSTRUCTIONS, state)
    shown, tokens = images[:, there[0]], at.config.sizes.picture_tokens
    pad = torch.full((3, shown.shape[1] * tokens), at.config.sizes.vocabulary)
    with torch.no_grad():
        chunk = theirs.sample_actions(
            state=ours.padded(state),
            input_ids=torch.cat([pad, words], 1),
            pixel_values=shown,
            noise=known["noise"],
            attention_mask=torch.cat([torch.ones_like(pad), mask.long()], 1),
            pixel_attention_mask=torch.ones(shown.shape[:2], dtype=torch.bool),
        )
    # its embedding of time is in float32, whose shortest period is some hundred steps of rounding
    torch.testing.assert_close(chunk, known["chunk"], atol=1e-4, rtol=0)
    flow = ours.at(ours.prefix(images, there, words, mask, state), state)
    x = known["noise"].flatten(1)
    for i in range(10):
        x = x + flow.velocity(x, i / 10).detach() / 10
    torch.testing.assert_close(x, chunk.flatten(1), atol=1e-4, rtol=0)


def _theirs() -> PI0ForConditionalGeneration:
    config = folder("pi0").config
    sizes = config.sizes

    def gemma(stack: StackSizes) -> dict[str, Any]:
        return {
            "model_type": "gemma",
            "hidden_size": stack.width,
            "intermediate_size": stack.hidden,
            "num_hidden_layers": stack.layers,
            "num_attention_heads": stack.heads,
            "num_key_value_heads": stack.kv_heads,
            "head_dim": stack.head_dim,
            "vocab_size": sizes.vocabulary,
        }

    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": sizes.vision.width,
        "intermediate_size": sizes.vision.hidden,
        "num_hidden_layers": sizes.vision.layers,
        "num_attention_heads": sizes.vision.heads,
        "patch_size": sizes.vision.patch,
        "image_size": sizes.vision.image,
        "vision_use_head": False,
    }
    made = PI0ForConditionalGeneration(
        PI0Config(
            vlm_config={
                "model_type": "paligemma",
                "text_config": gemma(sizes.text),
                "vision_config": vision,
                "projection_dim": sizes.text.width,
                "image_token_id": sizes.vocabulary,
            },
            dit_config=gemma(sizes.expert),
            chunk_size=config.chunk,
            max_state_dim=config.state_dim,
            max_action_dim=config.action_dim,
        )
    )
    there = made.state_dict()
    for name, value in model("pi0").state_dict().items():
        ours = next((n for n in NAMES if name.startswith(n)), "")
        key = NAMES.get(ours, "embed_action_time.") + name.removeprefix(ours)
        key = key if key in there else key.replace("vision_tower.", "vision_tower.vision_model.")
        there[key].copy_(value)
    return made.eval()
