"""How long a robot waits for its policy: batch 1, one core, as a module and as an exported program.

    python -m benchmarks.policy [--json] [--calls 300]

Milliseconds of processor time of a call, the least and the median; `difference` is the largest between the
program's actions and the module's.
"""

import argparse
import io
import json
import time
import warnings
from collections.abc import Callable
from statistics import median

import torch

from lwd_core.rl.encoders import EncoderConfig, VisionConfig
from lwd_core.rl.networks import CriticConfig, FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.training.program import export_program

STATE, DIMS, CHUNK = 39, 4, 5


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--calls", type=int, default=300)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    camera = VisionConfig(("front",))
    rows = [
        row("demo size, 3×256, 10 flow steps", policy(), chosen.calls),
        row("best of 8 by Q", policy(best_of=8), chosen.calls),
        row("one camera of 64×64", policy(vision=camera), chosen.calls),
    ]
    if chosen.json:
        print(json.dumps(rows))
        return
    print(f"{'policy':34} {'module':>7} {'median':>7} {'program':>8} {'median':>7} {'difference':>11}")
    for found in rows:
        print(
            "{policy:34} {module_least:7.3f} {module_median:7.3f} {program_least:8.3f} {program_median:7.3f} "
            "{difference:11.1e}".format(**found)
        )


def policy(best_of: int = 1, vision: VisionConfig | None = None) -> FlowPolicy:
    encoder = EncoderConfig(STATE, vision=vision)
    critic = CriticConfig(encoder, DIMS, CHUNK, atoms=0) if best_of > 1 else None
    return FlowPolicy(PolicyConfig(FieldConfig(encoder, DIMS, CHUNK), best_of=best_of, critic=critic)).eval()


def row(name: str, module: FlowPolicy, calls: int) -> dict[str, object]:
    """Both forms, call by call in turn, on equal inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.export about itself
        program = torch.export.load(io.BytesIO(export_program(module, 1))).module()
    inputs = torch.randn(1, STATE), torch.randn(1, 384), torch.randn(module.noise_shape(1))
    vision, more = module.config.field.encoder.vision, {}
    if vision is not None:
        shape = (1, len(vision.cameras), vision.height, vision.width, 3)
        more["image"] = torch.randint(0, 256, shape, dtype=torch.uint8)
    forms: tuple[Callable[..., torch.Tensor], ...] = (module, program)
    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        actions = [form(*inputs, **more) for form in forms]
        for _ in range(calls):
            for form, spent in zip(forms, times, strict=True):
                begin = time.process_time()
                form(*inputs, **more)
                spent.append(time.process_time() - begin)
    return {
        "policy": name,
        "module_least": 1e3 * min(times[0]),
        "module_median": 1e3 * median(times[0]),
        "program_least": 1e3 * min(times[1]),
        "program_median": 1e3 * median(times[1]),
        "difference": float((actions[0] - actions[1]).abs().max()),
    }


if __name__ == "__main__":
    main()
