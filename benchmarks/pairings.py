"""Control loops with random rates, delays, jitter, stalls and drops: does every valid row pair a state with
the command that was computed from it, by the generator's own truth?

    python -m benchmarks.pairings [--json] [--logs 1000] [--seed 0]

Each log is written as MCAP, drafted, and read by its draft. States and commands say their cycle.
``kept`` are the valid rows of all cycles whose state and command both are in the log, ``told`` the logs whose
stamps tell the pairing; of the others no row is valid, and the log's notes ask for `delay_ms`.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lwd_core.logs.draft.draft import Draft, DraftDim, DraftFeature, render
from lwd_core.logs.draft.infer_pairing import fill
from lwd_core.logs.draft.look import TopicSample
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import START, Log, Sink

CYCLES = 150
JITTER = {"exact": 0.0, "mild": 0.1, "wild": 0.5}  # up to so much of a period


Messages = Sequence[tuple[float, str, float]]  # ns, topic, cycle


def loop(rng: np.random.Generator, kind: str) -> tuple[Messages, int]:
    """Messages of one control loop, and how many cycles have both state and command among them.

    States come at 10 to 500 Hz, every 1st to 4th gives a command, 0 to 1 state periods later. ``kind`` is
    one of ``JITTER``. A fifth stalls once, of the others most lose up to three in ten messages: that a
    stall ends just where its last command was lost, no stamp tells.
    """
    period = 1e9 / rng.choice([10, 20, 30, 50, 60, 100, 125, 250, 500])
    every = int(rng.choice([1, 1, 2, 3, 4]))
    jitter = rng.uniform(0, JITTER[kind]) * period
    latency = rng.exponential(jitter, CYCLES) if rng.random() < 0.5 else rng.normal(0, jitter, CYCLES)
    stalled = rng.random() < 0.2
    drops = 0.0 if stalled else rng.uniform(0, 0.3) * (rng.random() < 0.7)
    at = np.arange(CYCLES * every) * period * (1 + rng.normal(0, 1e-4))
    states = at + rng.normal(0, jitter / 3, len(at))
    commands = states[::every] + rng.uniform(0, 1) * period + latency
    if stalled:  # what a writer held back comes at once
        first, held = int(rng.integers(0, CYCLES - 20)), int(rng.integers(2, 20))
        commands[first : first + held] = commands[first : first + held].max() + np.arange(held)
    has_state, has_command = rng.random(len(at)) >= drops, rng.random(CYCLES) >= drops
    messages = [(t, "/state", i / every) for i, t in enumerate(states) if has_state[i]]
    messages += [(t, "/command", float(i)) for i, t in enumerate(commands) if has_command[i]]
    return sorted(messages, key=lambda m: m[0]), int((has_state[::every] & has_command).sum())


def drafted(messages: Messages) -> Embodiment:
    """The embodiment file drafted from the stamps."""
    seen = {}
    for topic in ("/state", "/command"):
        index = np.array([i for i, m in enumerate(messages) if m[1] == topic])
        times = np.array([START + int(messages[i][0]) for i in index], dtype=np.int64)
        seen[topic] = TopicSample("", times, index, [], index[:0])
    state, action = (
        DraftFeature(t, (DraftDim(n),), "values", hz=seen[t].hz)
        for t, n in (("/state", "s"), ("/command", "a"))
    )
    draft = Draft("loop", 0.0, state=[state], action=[action])
    fill(draft, seen)
    return parse_embodiment(render(draft))


def check(messages: Messages, folder: Path) -> tuple[int, int, int]:
    """Rows, valid rows and wrong valid rows of a log, read by its own draft."""
    log = Log()
    for t, topic, cycle in messages:
        log.write(topic, Vector(values=[cycle]), START + int(t))
    path = folder / "loop.mcap"
    path.write_bytes(log.finish())
    rows = valid = wrong = 0
    for episode in read_log(LogSource(str(path)), {"loop": drafted(messages)}, Sink()).episodes:
        for step in episode.steps.select(["state", "action", "valid"]).to_pylist()[: episode.actions]:
            rows += 1
            if step["valid"]:
                valid += 1
                wrong += step["state"][0] != step["action"][0]
    return rows, valid, wrong


def run(logs: int, seed: int) -> dict[str, float]:
    """Counts over ``logs`` random loops."""
    rng = np.random.default_rng(seed)
    total: Counter[str] = Counter()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(logs):
            kind = str(rng.choice(list(JITTER)))
            messages, possible = loop(rng, kind)
            rows, valid, wrong = check(messages, Path(folder))
            told = valid > 0
            total.update({kind: 1, f"{kind}_told": told})
            total.update(
                logs=1, told=told, rows=rows, valid=valid, wrong=wrong, possible=possible,
                possible_told=possible * told,
            )  # fmt: skip
    return {
        **total,
        "kept": total["valid"] / max(total["possible"], 1),
        "kept_where_told": total["valid"] / max(total["possible_told"], 1),
        "s": time.perf_counter() - began,
    }


def main() -> None:
    """Print the counts; stops with an error if a valid row is wrong."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--logs", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    found = run(chosen.logs, chosen.seed)
    print(json.dumps(found) if chosen.json else "  ".join(f"{k} {v:.6g}" for k, v in found.items()))
    if found["wrong"]:
        raise SystemExit(f"{found['wrong']} valid rows pair a state with another cycle's command")


if __name__ == "__main__":
    main()
