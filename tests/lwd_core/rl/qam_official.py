"""The numbers `test_parity` checks against, made by QAM's released code, with nothing of `lwd_core`.

    <python with jax, flax, optax, ml_collections> -m tests.lwd_core.rl.qam_official <checkout of
        ColinQiyangLi/qam> <file.npz>

Five updates at a small size: 3 × 16 networks, 3 critics, batch 8, chunks of 2 frames and 3 dims, 10 steps.
Weights before and after, every batch, all random numbers as its own keys give them, losses, one path with
its adjoints, the first gradient. What its averages hold is set apart from what they average, so that mixing
them up shows.
"""

import sys
from functools import partial
from typing import Any

import numpy as np

from benchmarks.official import official

CHUNK, DIMS, STATE, BATCH, STEPS, UPDATES = 2, 3, 5, 8, 10, 5
LEARNED = ("modules_critic", "modules_actor_fast", "modules_actor_slow")
AVERAGED = ("modules_target_critic", "modules_target_actor_slow")
APART = ("modules_actor_slow", "modules_target_actor_slow", "modules_target_critic")


def main() -> None:
    checkout, path = sys.argv[1:3]
    get_config, agent_type = official(checkout)
    import jax  # pyright: ignore[reportMissingImports]

    config = get_config()
    config.update(
        actor_hidden_dims=(16, 16, 16),
        value_hidden_dims=(16, 16, 16),
        num_qs=3,
        batch_size=BATCH,
        horizon_length=CHUNK,
        action_chunking=True,
        inv_temp=2.0,
    )
    random = np.random.RandomState(0)
    first = batch(random)
    agent = agent_type.create(3, first["observations"][0], first["actions"][0, 0], config)
    agent = agent.replace(network=agent.network.replace(params=apart(jax, agent.network.params)))
    out: dict[str, np.ndarray] = {}

    def put(prefix: str, parameters: Any) -> None:
        for names, value in jax.tree_util.tree_flatten_with_path(parameters)[0]:
            out[f"{prefix}/" + "/".join(name.key for name in names)] = np.asarray(value)

    put("start", {name: agent.network.params[name] for name in (*LEARNED, *AVERAGED)})
    for update in range(UPDATES):
        data = batch(random)
        out |= {f"batch{update}/{name}": value for name, value in data.items()}
        rng = jax.random.split(agent.rng)[1]
        noise, adjoint_key = drawn(jax, rng)
        out |= {f"noise{update}/{name}": np.asarray(value) for name, value in noise.items()}
        if update == 0:
            points, adjoints, *_ = agent.adj_matching(data["observations"], adjoint_key)
            out |= {"path": np.asarray(points), "adjoints": np.asarray(adjoints)}
            loss = partial(agent.total_loss, data, rng=rng)
            gradients, _ = jax.grad(loss, has_aux=True)(agent.network.params)
            put("gradient", {name: gradients[name] for name in LEARNED})
        agent, info = agent.update(data)
        losses = ("critic/critic_loss", "actor/flow_loss", "actor/adj_loss")
        out[f"loss{update}"] = np.asarray([info[name] for name in losses])
    put("end", {name: agent.network.params[name] for name in (*LEARNED, *AVERAGED)})
    settings = (config.discount, config.rho, config.tau, config.lr, config.inv_temp)
    out["settings"] = np.asarray(settings, np.float64)
    np.savez_compressed(path, **out)  # pyright: ignore[reportArgumentType]


def batch(random: np.random.RandomState) -> dict[str, np.ndarray]:
    return {
        "observations": random.randn(BATCH, STATE).astype(np.float32),
        "actions": random.uniform(-1, 1, (BATCH, CHUNK, DIMS)).astype(np.float32),
        "next_observations": random.randn(BATCH, 1, STATE).astype(np.float32),
        "rewards": random.uniform(0, 1, (BATCH, 1)).astype(np.float32),
        "masks": (random.rand(BATCH, 1) > 0.3).astype(np.float32),
        "valid": np.ones((BATCH, 1), np.float32),
    }


def apart(jax: Any, parameters: Any) -> Any:
    """Parameters with the reference, its average and the critics' average moved, each its own way."""
    parameters = dict(parameters)
    for seed, name in enumerate(APART, start=1):
        leaves, tree = jax.tree_util.tree_flatten(parameters[name])
        moved = [
            leaf + 0.05 * jax.random.normal(jax.random.PRNGKey(100 * seed + i), leaf.shape)
            for i, leaf in enumerate(leaves)
        ]
        parameters[name] = jax.tree_util.tree_unflatten(tree, moved)
    return parameters


def drawn(jax: Any, rng: Any) -> tuple[dict[str, Any], Any]:
    """What an update draws from its key, in its order; and the key of the adjoint matching."""
    width = CHUNK * DIMS
    _, actor, critic = jax.random.split(rng, 3)
    following, _ = jax.random.split(critic)
    _, x, time, adjoint, _ = jax.random.split(actor, 5)
    steps = [jax.random.normal(key, (BATCH, width)) for key in jax.random.split(adjoint, STEPS)]
    noise = {
        "next": jax.random.normal(following, (BATCH, 1, width))[:, 0],
        "flow": jax.random.normal(x, (BATCH, width)),
        "time": jax.random.uniform(time, (BATCH, 1)),
        "x0": jax.random.normal(adjoint, (BATCH, width)),
        "path": np.stack(steps)[:-1],
    }
    return noise, adjoint


if __name__ == "__main__":
    main()
