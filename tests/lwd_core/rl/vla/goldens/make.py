"""Makes the folders beside this: tiny checkpoints of random weights, and what LeRobot's own code computes on
them.

In an environment of its own, with LeRobot 0.6.2 (git 7427f31) and its extras ``smolvla`` and ``pi``:

    python make.py [pi0 pi05 smolvla]

Nothing here was trained and nothing is downloaded. LeRobot takes pi's sizes by name and a tokenizer from the
hub; both are put in their place below, and all that computes is LeRobot's. Each folder is as LeRobot saves
one, in bfloat16, with a tokenizer of one token a character, and ``golden.npz``:

    raw       picture_<camera> (B, h, w, 3) u8, state (B, S); instructions in INSTRUCTIONS
    prepared  image_<camera> (B, 3, S, S), tokens, mask (B, L), normal_state, raw_action (B, H, D) of
              loss_action
    network   prefix, present, keys and values of each layer; for each of ``times`` velocity at noise, and
              pull, the pullback of cotangent by the noisy action; chunk of 10 Euler steps; loss of
              loss_action at loss_time
"""

import importlib.machinery
import json
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

HERE = Path(__file__).parent
INSTRUCTIONS = ["pick up the cup", "open_the drawer\nnow ", "push"]
B, H, STATE, ACTION, MAX_STATE, MAX_ACTION = 3, 4, 3, 2, 5, 4
TIMES = (1.0, 0.55, 0.1)
SPECIAL = {"pi": ["<pad>", "<eos>", "<bos>", "<unk>"], "smol": ["<unk>", "<pad>"]}
VOCABULARY = {kind: len(special) + 96 for kind, special in SPECIAL.items()}


class Absent(MetaPathFinder, Loader):
    """Stands for libraries that LeRobot imports beside and that nothing here calls."""

    NAMES = (
        "torchvision",
        "cv2",
        "datasets",
        "av",
        "gymnasium",
        "deepdiff",
        "pandas",
        "accelerate",
        "num2words",
    )

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self.NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        class Empty(types.ModuleType):
            def __getattr__(self, name: str) -> type:
                if name.startswith("__"):
                    raise AttributeError(name)
                return type(name, (), {})

        module = Empty(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


transformers.utils.is_torchvision_available()  # asked once, before it seems to be there
sys.meta_path.append(Absent())
import lerobot  # noqa: E402

for room in ("policies",):  # without the policies that nobody asks for
    package = types.ModuleType(f"lerobot.{room}")
    package.__path__ = [str(Path(lerobot.__file__).parent / room)]
    sys.modules[package.__name__] = package


def tokenizer(kind: str) -> Tokenizer:
    """One token a character; for pi with <bos> before."""
    special = SPECIAL[kind]
    symbols = [*special, "\n", *map(chr, range(32, 127))]
    made = Tokenizer(models.WordLevel({s: i for i, s in enumerate(symbols)}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.add_special_tokens(special)
    if kind == "pi":
        made.post_processor = processors.TemplateProcessing("<bos> $A", None, [("<bos>", 2)])
    return made


def tokens(kind: str) -> Any:
    """As transformers wraps it; LeRobot saves it beside the processors."""
    kept = {"pi": {"bos_token": "<bos>", "eos_token": "<eos>"}, "smol": {}}[kind]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(kind), pad_token="<pad>", unk_token="<unk>", **kept
    )


def feature(kind: str, *shape: int) -> Any:
    from lerobot.configs.types import FeatureType, PolicyFeature

    return PolicyFeature(type=FeatureType[kind], shape=shape)


def statistics() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)

    def of(width: int) -> dict[str, np.ndarray]:
        low = rng.normal(size=width).astype(np.float32)
        high = low + rng.uniform(1, 3, width).astype(np.float32)
        return {
            "mean": (low + high) / 2,
            "std": (high - low) / 3,
            "min": low - 1,
            "max": high + 1,
            "q01": low,
            "q99": high,
        }

    return {"observation.state": of(STATE), "action": of(ACTION)}


def small_paligemma(module: Any, adaptive: bool) -> None:
    """LeRobot's class of both towers, at sizes that it has no name for."""
    from lerobot.policies.pi_gemma import (
        PaliGemmaForConditionalGenerationWithPiGemma,
        PiGemmaForCausalLM,
    )
    from torch import nn
    from transformers import GemmaConfig, PaliGemmaConfig

    def gemma(width: int, hidden: int, conditioned: bool) -> Any:
        made = GemmaConfig(
            hidden_size=width,
            intermediate_size=hidden,
            num_hidden_layers=2,
            num_attention_heads=8,
            num_key_value_heads=1,
            head_dim=8,
            vocab_size=VOCABULARY["pi"],
            hidden_activation="gelu_pytorch_tanh",
        )
        made.use_adarms, made.adarms_cond_dim = conditioned, width if conditioned else None
        return made

    class Small(module.PaliGemmaWithExpertModel):
        def __init__(self, *_: Any, **__: Any):
            nn.Module.__init__(self)
            self.freeze_vision_encoder = self.train_expert_only = False
            vision = {
                "model_type": "siglip_vision_model",
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "patch_size": 14,
                "image_size": 28,
                "projection_dim": 32,
                "vision_use_head": False,
            }
            text = gemma(32, 48, False)
            config = PaliGemmaConfig(
                vision_config=vision, text_config=text.to_dict(), projection_dim=32, hidden_size=32
            )
            config.text_config.use_adarms, config.text_config.adarms_cond_dim = False, None
            config.image_token_index = config.image_token_id = VOCABULARY["pi"] - 1
            self.paligemma = PaliGemmaForConditionalGenerationWithPiGemma(config=config)
            self.gemma_expert = PiGemmaForCausalLM(config=gemma(16, 32, adaptive))
            self.gemma_expert.model.embed_tokens = None
            self.to(torch.float32)

    module.PaliGemmaWithExpertModel = Small
    module.get_gemma_config = lambda name: module.GemmaConfig(
        width=32 if name == "gemma_2b" else 16, depth=2, mlp_dim=32, num_heads=8, num_kv_heads=1, head_dim=8
    )


def pi(kind: str, folder: Path) -> tuple[Any, Any, Any]:
    """Policy and processors."""
    import lerobot.processor.tokenizer_processor as tokenized

    if kind == "pi0":
        import lerobot.policies.pi0.modeling_pi0 as module
        from lerobot.policies.pi0.configuration_pi0 import PI0Config as Config
        from lerobot.policies.pi0.processor_pi0 import make_pi0_pre_post_processors as processors_of
    else:
        import lerobot.policies.pi05.modeling_pi05 as module
        from lerobot.policies.pi05.configuration_pi05 import PI05Config as Config
        from lerobot.policies.pi05.processor_pi05 import make_pi05_pre_post_processors as processors_of
    small_paligemma(module, kind == "pi05")
    config = Config(
        input_features={
            **{f"observation.images.{c}": feature("VISUAL", 3, 20, 36) for c in ("base", "left", "right")},
            "observation.state": feature("STATE", STATE),
        },
        output_features={"action": feature("ACTION", ACTION)},
        chunk_size=H,
        n_action_steps=H,
        max_state_dim=MAX_STATE,
        max_action_dim=MAX_ACTION,
        image_resolution=(28, 28),
        tokenizer_max_length=60,
        device="cpu",
    )
    fast = tokens("pi")
    tokenized.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda name: fast)
    policy = (module.PI0Policy if kind == "pi0" else module.PI05Policy)(config)
    sizes = {
        "vision": {"width": 16, "hidden": 32, "layers": 2, "heads": 2, "patch": 14, "image": 28},
        "text": {"width": 32, "hidden": 48, "layers": 2, "heads": 8, "kv_heads": 1, "head_dim": 8},
        "expert": {"width": 16, "hidden": 32, "layers": 2, "heads": 8, "kv_heads": 1, "head_dim": 8},
        "vocabulary": VOCABULARY["pi"],
    }
    (folder / "sizes.json").write_text(json.dumps(sizes, indent=1))
    return policy, *processors_of(config, statistics())


def smolvla(_: str, folder: Path) -> tuple[Any, Any, Any]:
    """Policy and processors."""
    import lerobot.policies.smolvla.modeling_smolvla as module
    import lerobot.policies.smolvla.smolvlm_with_expert as towers
    import lerobot.processor.tokenizer_processor as tokenized
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
    from transformers import SmolVLMConfig

    fast = tokens("smol")
    said = types.SimpleNamespace(fake_image_token_id=1, global_image_token_id=1)
    towers.AutoProcessor = types.SimpleNamespace(
        from_pretrained=lambda name: types.SimpleNamespace(tokenizer=said)
    )
    tokenized.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda name: fast)
    text = {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": VOCABULARY["smol"],
        "rms_norm_eps": 1e-5,
        "pad_token_id": 1,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 16,
        "image_size": 64,
    }
    vlm = SmolVLMConfig(
        text_config=text,
        vision_config=vision,
        scale_factor=2,
        image_token_id=VOCABULARY["smol"] - 1,
        pad_token_id=1,
        tie_word_embeddings=False,
    )
    (folder / "vlm").mkdir(exist_ok=True)
    vlm.save_pretrained(folder / "vlm")
    config = SmolVLAConfig(
        input_features={
            "observation.images.top": feature("VISUAL", 3, 20, 36),
            "observation.images.wrist": feature("VISUAL", 3, 64, 64),
            "observation.state": feature("STATE", STATE),
        },
        output_features={"action": feature("ACTION", ACTION)},
        chunk_size=H,
        n_action_steps=H,
        max_state_dim=MAX_STATE,
        max_action_dim=MAX_ACTION,
        resize_imgs_with_padding=(64, 64),
        tokenizer_max_length=24,
        pad_language_to="max_length",
        num_vlm_layers=4,
        vlm_model_name=str(folder / "vlm"),
        device="cpu",
    )
    policy = module.SmolVLAPolicy(config)
    processors_pair = make_smolvla_pre_post_processors(config, statistics())
    config.vlm_model_name = "vlm"
    return policy, *processors_pair


@torch.no_grad()
def randomise(policy: Any) -> None:
    """Weights that leave nothing out: norms and biases too. Rounded to bfloat16, in which they are kept."""
    generator = torch.Generator().manual_seed(7)
    for name, p in policy.named_parameters():
        scale = 0.2 if p.dim() < 2 else 0.6 / p.shape[-1] ** 0.5
        noise = scale * torch.randn(p.shape, generator=generator)
        norm = name.endswith("norm.weight") and p.dim() == 1 and bool((p == 1).all())
        p.copy_((noise + (1 if norm else 0)).bfloat16().float())


def golden(kind: str) -> None:
    """Make one folder."""
    folder = HERE / kind
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    policy, pre, post = (smolvla if kind == "smolvla" else pi)(kind, folder)
    randomise(policy)
    policy.eval()
    policy.save_pretrained(folder)
    for processor in (pre, post):
        processor.save_pretrained(folder)
    file = folder / "model.safetensors"
    save_file({k: v.bfloat16().contiguous() for k, v in load_file(file).items()}, file, {"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)

    rng = np.random.default_rng(5)
    sizes = {"smolvla": {"top": (20, 36), "wrist": (64, 64)}}.get(kind, {"base": (20, 36), "left": (28, 28)})
    raw = {f"picture_{c}": rng.integers(0, 256, (B, h, w, 3), dtype=np.uint8) for c, (h, w) in sizes.items()}
    raw["state"] = rng.normal(size=(B, STATE)).astype(np.float32)
    cameras = {f"observation.images.{c}": torch.from_numpy(raw[f"picture_{c}"]) for c in sizes}
    batch = {k: v.permute(0, 3, 1, 2).float() / 255 for k, v in cameras.items()}
    batch = pre({**batch, "observation.state": torch.from_numpy(raw["state"]), "task": INSTRUCTIONS})
    words, mask = (batch[f"observation.language.{n}"] for n in ("tokens", "attention_mask"))
    state = batch["observation.state"]
    images, shown = getattr(policy, "prepare_images" if kind == "smolvla" else "_preprocess_images")(batch)
    model = policy.model

    def tensor(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    padded = torch.nn.functional.pad(state, (0, MAX_STATE - STATE))
    noise, cotangent, action = tensor(B, H, MAX_ACTION), tensor(B, H, MAX_ACTION), tensor(B, H, MAX_ACTION)
    when = torch.tensor([0.9, 0.5, 0.2])
    own = () if kind == "pi05" else (padded,)
    inside = {"state": padded} if kind == "smolvla" else {}
    with torch.no_grad():
        prefix, present, blocks = model.embed_prefix(images, shown, words, mask, **inside)
        chunk = model.sample_actions(images, shown, words, mask, *own, noise=noise)
        loss = model.forward(images, shown, words, mask, *own, action, noise=noise, time=when)
        from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d

        two = make_att_2d_masks(present, blocks)
        places = torch.cumsum(present, 1) - 1
        towers = model.vlm_with_expert if kind == "smolvla" else model.paligemma_with_expert
        seen = two if kind == "smolvla" else prepare_attention_masks_4d(two)
        _, cache = towers.forward(
            attention_mask=seen,
            position_ids=places,
            past_key_values=None,
            inputs_embeds=[prefix, None],
            use_cache=True,
        )
    keys, values = ([getattr(layer, n).clone() for layer in cache.layers] for n in ("keys", "values"))
    velocity, pull = [], []
    for t in TIMES:
        x = noise.clone().requires_grad_()
        at = {"state": padded} if kind == "pi0" else {}
        v = model.denoise_step(
            prefix_pad_masks=present,
            past_key_values=cache,
            x_t=x,
            timestep=torch.full((B,), t),
            **at,
        )
        velocity.append(v.detach())
        pull.append(torch.autograd.grad(v, x, cotangent)[0])
    made = {
        **{f"image_{c}": image for c, image in zip(sizes, images, strict=False)},
        "tokens": words,
        "mask": mask,
        "normal_state": state,
        "raw_action": post(action[..., :ACTION]),
        "prefix": prefix,
        "present": present,
        "keys": torch.stack(keys),
        "values": torch.stack(values),
        "noise": noise,
        "cotangent": cotangent,
        "times": torch.tensor(TIMES),
        "velocity": torch.stack(velocity),
        "pull": torch.stack(pull),
        "chunk": chunk,
        "loss_action": action,
        "loss_time": when,
        "loss": loss,
    }
    np.savez_compressed(folder / "golden.npz", **raw, **{k: v.detach().numpy() for k, v in made.items()})


if __name__ == "__main__":
    for kind in sys.argv[1:] or ("pi0", "pi05", "smolvla"):
        golden(kind)
