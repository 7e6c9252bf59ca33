"""``python -m lwd_core.training --config run.yaml``"""

import argparse
import sys

from lwd_core.errors import UserError
from lwd_core.interrupt import stopped
from lwd_core.training.config import TrainConfig
from lwd_core.training.reporters import Terminal
from lwd_core.training.run import Interrupted, train


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 finished, 2 wrong input, 130 (Ctrl-C) or 143 stopped with its state saved."""
    parser = argparse.ArgumentParser(prog="python -m lwd_core.training", description="Train one stage.")
    parser.add_argument("--config", required=True, help="YAML file; see lwd_core/training/config.py")
    given = parser.parse_args(arguments)
    try:
        config = TrainConfig.load(given.config)
        with Terminal(config.updates) as terminal:
            result = train(config, terminal)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as notice:
        print(notice, file=sys.stderr)
        return stopped() or 143
    print(result.checkpoint)
    return 0


if __name__ == "__main__":
    sys.exit(main())
