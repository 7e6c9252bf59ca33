"""Whether LeRobot reads what `lwd export policy` wrote, and acts by it as this package does.

Two commands in two environments, since LeRobot's libraries are not this package's:

    python -m benchmarks.lerobot_reads write DIR     here: tiny policies, given back, and what they do
    python benchmarks/lerobot_reads.py read DIR      where lerobot is installed (seen with 0.4.4)

The second loads configuration, processors and, of SmolVLA, weights by LeRobot's own classes, strictly, and
compares the chunks of raw actions for the same raw observations and noise. Its tokenizers are given by file,
for it asks the network by their names.
"""

# pyright: basic, reportMissingImports=false

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

KINDS = ("smolvla", "pi05", "pi0")
TASK = "pick the cube"
STATE, ACTION, CHUNK = 5, 3, 4


def write(root: Path) -> None:
    import torch

    from lwd_core.rl.chosen import choose
    from lwd_core.rl.encoders import EncoderConfig, Observation, VisionConfig
    from lwd_core.rl.fields import FIELDS, Measured
    from lwd_core.rl.flow import ConditionedFlow, sample
    from lwd_core.rl.networks import FieldConfig
    from lwd_core.rl.policy import PolicyConfig
    from tests.lwd_core.rl.vla.tiny import tiny

    random = np.random.default_rng(0)
    for kind in KINDS:
        folder = tiny(
            root / kind / "began",
            kind,
            chunk=CHUNK,
            state=STATE,
            action=ACTION,
            cameras=("base_0_rgb", "left_wrist_0_rgb"),
            middle=None,
        )
        rule = "skewed" if kind == "smolvla" else None
        told = "padded" if kind == "pi05" else None  # both as 0.4.4 does
        rules = {"position_ids": rule, "state_prompt": told}
        made = choose(FIELDS, "vla", folder=str(folder), cameras={"front": "base_0_rgb"}, **rules)
        encoder = EncoderConfig(STATE, vision=VisionConfig(("front",), 16, 20))
        config = PolicyConfig(FieldConfig(encoder, ACTION, CHUNK, kind=made), steps=3)
        ends, plain = torch.full((ACTION,), 1e4), {"mean": torch.zeros(STATE)}
        policy = made.made.policy(config, Measured(plain, {"mean": torch.zeros(ACTION)}, -ends, ends))
        with torch.no_grad():
            for parameter in policy.field.parameters():
                parameter += 0.02 * torch.randn_like(parameter) * (parameter.dim() > 0)
        out = root / kind / "back"
        out.mkdir()
        made.made.give_back(policy, out)
        state = random.standard_normal((2, STATE), dtype=np.float32)
        image = random.integers(0, 256, (2, 16, 20, 3), np.uint8)
        noise = random.standard_normal(policy.noise_shape(2), dtype=np.float32)
        seen = policy.normaliser.state(torch.tensor(state))
        tokens, mask = policy.normaliser.prompt([TASK] * 2, seen)
        observed = Observation(seen, torch.zeros(2, 384), torch.tensor(image)[:, None], None, tokens, mask)
        with torch.no_grad():
            x = sample(ConditionedFlow.of(policy.field, observed), torch.tensor(noise).flatten(-2), 3)
            chunk = policy.normaliser.raw_action(x.view(noise.shape)).numpy()
        np.savez(root / kind / "did.npz", state=state, image=image, noise=noise, chunk=chunk, tokens=tokens)
        print(f"{kind}: {out}")


def read(root: Path) -> None:
    import lerobot.processor.tokenizer_processor as of_tokens
    import torch
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies import factory
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    for kind in KINDS:
        folder, did = root / kind / "back", np.load(root / kind / "did.npz")
        os.chdir(folder)
        words = Tokenizer.from_file("tokenizer.json")
        if kind != "smolvla":
            begin = ("<bos>", words.token_to_id("<bos>"))
            words.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[begin])
        fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>")
        of_tokens.AutoTokenizer = SimpleNamespace(from_pretrained=lambda *_, fast=fast, **__: fast)
        config = PreTrainedConfig.from_pretrained(str(folder))
        before, after = factory.make_pre_post_processors(config, pretrained_path=str(folder))
        batch = before(
            {
                "observation.images.front": torch.tensor(did["image"]).permute(0, 3, 1, 2).float() / 255,
                "observation.state": torch.tensor(did["state"]),
                "task": [TASK] * len(did["state"]),
            }
        )
        said = batch["observation.language.tokens"].numpy()
        told = did["tokens"][:, : said.shape[1]]
        print(f"{kind}: {type(config).__name__}, tokens {'equal' if (said == told).all() else 'DIFFER'}")
        if kind != "smolvla":
            back = after(torch.zeros(2, 4, 3))  # the units of its actions alone
            stats = json.loads((folder / "policy_postprocessor.json").read_text())["steps"][0]
            print(f"  {stats['registry_name']}: zero is {np.asarray(back)[0, 0].round(4).tolist()}")
            continue
        from lerobot.policies.smolvla import smolvlm_with_expert
        from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

        ids = SimpleNamespace(fake_image_token_id=0, global_image_token_id=0)
        stub = SimpleNamespace(from_pretrained=lambda *_, ids=ids, **__: SimpleNamespace(tokenizer=ids))
        smolvlm_with_expert.AutoProcessor = stub
        policy = SmolVLAPolicy.from_pretrained(str(folder), config=config, strict=True)
        with torch.no_grad():
            chunk = after(policy.predict_action_chunk(batch, noise=torch.tensor(did["noise"])))
        worst = float(np.abs(np.asarray(chunk) - did["chunk"]).max())
        print(f"  chunks of raw actions differ by {worst:.1e} at most, of {np.abs(did['chunk']).max():.2f}")
        if worst > 1e-4:
            sys.exit(1)


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]).absolute())
