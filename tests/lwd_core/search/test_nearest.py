"""Blocks give what all pairs give."""

import numpy as np
import pytest

from lwd_core.search import nearest
from lwd_core.search.nearest import Best, Hit, close_pairs, unit


def test_pairs_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 7)
    rows = np.random.default_rng(0).normal(0, 1, (40, 3)).astype(np.float32)
    rows[11], rows[39] = rows[3], rows[3]
    found = {(i, j): d for i, j, d in close_pairs(rows, 0.5)}
    apart = np.linalg.norm(rows[:, None] - rows, axis=2)
    wanted = {(i, j) for i, j in np.argwhere(apart <= 0.5).tolist() if i < j}
    assert set(found) == wanted
    assert found[3, 11] == found[3, 39] == found[11, 39] == 0
    assert list(close_pairs(np.zeros((0, 3), np.float32), 1)) == []


def test_the_best_of_each_episode_whatever_comes_first() -> None:
    draw = np.random.default_rng(1)
    scores = draw.permutation(200).astype(np.float32)
    episodes = [f"e{i % 50}" for i in range(200)]
    best = Best(5)
    for a in range(0, 200, 30):
        part = slice(a, a + 30)
        best.offer(
            episodes[part], scores[part], lambda i, a=a: Hit(episodes[a + i], float(scores[a + i]), a + i)
        )
    tops = {
        name: max(s for s, e in zip(scores, episodes, strict=True) if e == name) for name in set(episodes)
    }
    wanted = sorted(tops.items(), key=lambda item: -item[1])[:5]
    assert [(hit.episode_id, hit.score) for hit in best.hits()] == wanted
    assert all(scores[hit.step or 0] == hit.score for hit in best.hits())


def test_unit_leaves_nothing_as_it_is() -> None:
    assert unit([[3, 4], [0, 0]]).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
