"""Vision-language-action checkpoints: what one is, whether it can be learned from, and what that costs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._output import AsJson, say_json, say_table

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.callback()
def vla() -> None:
    """Vision-language-action checkpoints: what one is, whether it can be learned from, and what that costs.

    Example: lwd vla show ./smolvla_base --tokenizer ./tokenizer.json
    """


@app.command()
def show(
    folder: Annotated[Path, Argument(help="A policy's folder, or a training run's, of LeRobot.")],
    tokenizer: Annotated[Path | None, Option(help="tokenizer.json, where the folder has none.")] = None,
    position_ids: Annotated[
        str | None, Option(help="exact or skewed, where the folder does not tell.")
    ] = None,
    state_prompt: Annotated[
        str | None, Option(help="real or padded, where a pi0.5's folder does not tell.")
    ] = None,
    statistics: Annotated[
        str | None, Option(help="snapshot, where the folder has none, or another robot's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look into a checkpoint: what it sees and says, its units, its digests, and by arithmetic what it costs.

    What can't be learned from is refused here as it is in training; whether all weights are finite numbers
    is looked at there only.
    Example: lwd vla show ./smolvla_base --tokenizer ./tokenizer.json
    """
    from lwd_core.errors import UserError
    from lwd_core.rl.vla.checkpoint import VlaFolder
    from lwd_core.rl.vla.config_json import read_config
    from lwd_core.rl.vla.costs import Costs
    from lwd_core.rl.vla.runs import policy_folder
    from lwd_core.rl.vla.statistics import VlaStatistics

    for name, said, known in (
        ("position-ids", position_ids, ("exact", "skewed")),
        ("state-prompt", state_prompt, ("real", "padded")),
        ("statistics", statistics, ("checkpoint", "snapshot")),
    ):
        if said is not None and said not in known:
            raise UserError(f"--{name}: {said!r}; say {' or '.join(known)}")
    rules: Any = {"position_ids": position_ids, "state_prompt": state_prompt}
    if statistics == "snapshot":  # its units are shown, and no numbers
        rules["statistics"] = VlaStatistics.identity(read_config(policy_folder(folder)))
    found = VlaFolder.open(folder, tokenizer, **rules)
    config, costs = found.config, Costs.of(found.config)
    if as_json:
        about = {"folder": found.path, "position_ids": found.position_ids, "digests": found.digests}
        say_json(about | {"config": config.to_dict(), "costs": asdict(costs)})
        return
    rows = {
        "policy": f"{config.kind} in {found.path}",
        "cameras": f"{', '.join(config.cameras)}, {config.width}x{config.height}",
        "state": f"{config.real_state_dim} numbers of {config.state_dim}, by {config.state_units}",
        "actions": f"{config.real_action_dim} numbers of {config.action_dim}, by {config.action_units}, "
        f"in chunks of {config.chunk}",
        "position ids": found.position_ids,
        "numbers": f"vision {_big(costs.vision)}, text {_big(costs.text)}, expert {_big(costs.expert)}",
        "prefix": f"{costs.tokens} tokens, {costs.kept / 2**20:.1f} MiB of keys and values a sample in bf16",
        "a sample of cloning": f"{costs.cloning() / 1e12:.2f} TFLOP, "
        f"of which the prefix {costs.prefix / 1e12:.2f}",
        "a sample of QAM": f"{costs.qam() / 1e12:.2f} TFLOP with 10 steps",
        "weights, optimisers": f"{costs.memory() / 1e9:.1f} GB to learn the expert, backbone in bf16",
        **{f"sha256 of {part}": value for part, value in found.digests.items()},
    }
    say_table(("what", "is"), rows.items())


def _big(number: int) -> str:
    return f"{number / 1e6:.1f} M"
