"""One policy for several tasks in one scene, told what to do by sentences alone, through the real encoder."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lwd_core.policies.inference import Policy, save_policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.rl.batch import Noise, prepare
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.imitation import ImitationConfig, ImitationLearner
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.optim import OptimConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.progress import Progress
from storage_schemas.policy import Lineage
from tests.lwd_core.point_mass import NEAR, move

#: What people who demonstrated said, task by task; the order is that of the things on the table.
TOLD = {
    "drawer": (
        "open the drawer",
        "pull the drawer open",
        "slide the drawer out",
        "please open that drawer",
        "drag the drawer towards you",
        "get the drawer open",
    ),
    "button": (
        "press the button",
        "push the button down",
        "hit the button",
        "please press that button",
        "touch the button with the gripper",
        "push the red button",
    ),
    "cup": (
        "pick up the cup",
        "grab the cup",
        "lift the mug from the table",
        "please take the cup",
        "get hold of the mug",
        "grasp the cup",
    ),
}
#: What nobody said before the policy was deployed.
UNSEEN = {
    "drawer": ("could you open up the drawer for me", "pull out the drawer"),
    "button": ("give the button a press", "press down on the button"),
    "cup": ("pick the mug up", "take hold of the cup please"),
}
TASKS = tuple(TOLD)
CHUNK = 3


def scene(count: int, rng: np.random.Generator) -> np.ndarray:
    """The hand and the three things (N, 8): anywhere, the things apart from each other."""
    things = rng.uniform(-0.9, 0.9, (8 * count, 3, 2))
    apart = np.linalg.norm(things[:, :, None] - things[:, None], axis=-1) + 9 * np.eye(3)
    things = things[apart.min((1, 2)) > 3 * NEAR][:count]
    return np.concatenate([rng.uniform(-1, 1, (count, 2)), things.reshape(count, 6)], 1).astype(np.float32)


def towards(state: np.ndarray, task: np.ndarray) -> np.ndarray:
    """The demonstrator's chunk (N, H, 2): straight to the thing, and stay."""
    hand, goal, chunk = state[:, :2], state[:, 2:].reshape(-1, 3, 2)[np.arange(len(task)), task], []
    for _ in range(CHUNK):
        action = np.clip((goal - hand) / 0.1, -1, 1)
        hand = move(hand, action)
        chunk.append(action)
    return np.stack(chunk, 1).astype(np.float32)


@pytest.fixture(scope="module")
def generalist(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """Cloned from demonstrations of all tasks; loaded from its bundle as a robot does."""
    texts = [text for told in TOLD.values() for text in told]
    embeddings, per_task = InstructionEncoder()(texts), len(TOLD["cup"])
    torch.manual_seed(0)
    rng, size, updates = np.random.default_rng(0), 256, 1200
    field = FieldConfig(EncoderConfig(8), action_dim=2, chunk=CHUNK, hidden=128)
    optim = OptimConfig(rate=2e-3, weight_decay=1e-4, floor=0.02)
    learner = ImitationLearner(ImitationConfig(optim), FlowPolicy(PolicyConfig(field, steps=5)))
    noise = Noise(torch.Generator().manual_seed(0))
    for update in range(updates):
        state, task = scene(size, rng), rng.integers(0, len(TASKS), size)
        raw = {
            "state": state,
            "next_state": state,
            "action": towards(state, task),
            "mask": np.ones((size, CHUNK), np.float32),
            "action_dim_mask": np.ones((size, 2), np.float32),
            "reward": np.zeros(size, np.float32),
            "discount": np.ones(size, np.float32),
            "success": np.ones(size, bool),
            "human": np.ones(size, bool),
            "instruction": task * per_task + rng.integers(0, per_task, size),
            "task": task,
        }
        batch = prepare(
            {name: torch.from_numpy(value) for name, value in raw.items()},
            learner.policy.normaliser,
            embeddings,
        )
        learner.update(batch, noise, Progress(update, updates))
    home = tmp_path_factory.mktemp("generalist")
    bundle = save_policy(
        str(home / "policies"),
        learner.policy,
        dict(zip(texts, embeddings, strict=True)),
        embodiments={"point": {"state": 8, "action": 2}},
        config={},
        lineage=Lineage("sft", "c", updates, ("d",)),
        key=signing_key(str(home / "keys")),
    )
    return Policy.load(bundle.uri, trusted_keys(str(home / "keys")))


def success(policy: Policy, wanted: str, said: Sequence[str], trials: int = 100) -> float:
    """Share of trials that end at the wanted thing, when these texts are said in turn."""
    rng = np.random.default_rng(3)
    state = scene(trials, rng)
    texts = [said[i % len(said)] for i in range(trials)]
    for _ in range(10):
        for action in policy.act(state, texts, rng).swapaxes(0, 1):
            state[:, :2] = move(state[:, :2], action)
    goal = state[:, 2:].reshape(-1, 3, 2)[:, TASKS.index(wanted)]
    return float((np.linalg.norm(state[:, :2] - goal, axis=-1) < NEAR).mean())


@pytest.mark.parametrize("task", TASKS)
def test_a_paraphrase_never_heard_does_the_task(generalist: Policy, task: str):
    assert success(generalist, task, TOLD[task]) > 0.95
    assert success(generalist, task, UNSEEN[task]) > 0.85


@pytest.mark.parametrize("task", TASKS)
def test_another_tasks_instruction_does_not(generalist: Policy, task: str):
    others = [text for other in TASKS if other != task for text in (*TOLD[other], *UNSEEN[other])]
    assert success(generalist, task, others) < 0.1


def test_a_sentence_about_something_else_does_nothing_reliably(generalist: Policy):
    assert max(success(generalist, task, ["make me a sandwich", "good morning"]) for task in TASKS) < 0.3
