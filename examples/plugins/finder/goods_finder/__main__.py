"""Make the weights: render scenes nobody trains or is judged in, learn where goods are, and read orders.

python -m goods_finder [--pictures 3000] [--passes 6] [--kept-out 60]
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import nn

from goods_finder.learning import BATCH, calibrate, places_missed, reading, teach, words_read
from goods_finder.network import WEIGHTS, FinderNetwork
from goods_finder.scenes import FIRST, FIRST_KEPT_OUT, composed, driven
from lwd_core import UserError


def main() -> None:
    """Learn, print what is missed, write."""
    options = argparse.ArgumentParser(
        prog="goods_finder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--pictures", type=int, default=3000, help="to learn from")
    options.add_argument("--passes", type=int, default=6, help="over them")
    options.add_argument("--kept-out", type=int, default=60, help="scenes to judge it in")
    chosen = options.parse_args()
    for name, least in (("pictures", BATCH), ("passes", 1), ("kept_out", 1)):
        if getattr(chosen, name) < least:
            options.error(f"--{name.replace('_', '-')}: at least {least}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = reading()
    kinds, shelves = words_read(words)
    print(f"orders in wordings not learned from: goods {kinds:.3f}, shelf {shelves:.3f}", flush=True)
    scenes = composed(range(FIRST, FIRST + chosen.pictures))
    torch.manual_seed(0)
    network = FinderNetwork()
    for number, loss in enumerate(teach(network, scenes, chosen.passes), 1):
        print(f"pass {number} of {chosen.passes}: loss {loss:.3f}", flush=True)
    calibrate(network, scenes)
    keep({"finder": network, "words": words}, WEIGHTS)
    missed = places_missed(network, driven(range(FIRST_KEPT_OUT, FIRST_KEPT_OUT + chosen.kept_out)))
    print("in scenes not learned from, centimetres and shares: ", {k: round(v, 3) for k, v in missed.items()})
    print(WEIGHTS)


def keep(parts: Mapping[str, nn.Module], file: Path) -> None:
    """Write what they learned; whoever reads meanwhile finds all of what was there before, or all of this."""
    tensors = {
        f"{part}.{name}": tensor.contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    with TemporaryDirectory(dir=file.parent) as folder:
        save_file(tensors, Path(folder, file.name))
        os.replace(Path(folder, file.name), file)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as wrong:
        sys.exit(f"{wrong}")
