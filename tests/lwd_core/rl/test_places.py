"""Numbers of several embodiments in one network's order."""

import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.rl.places import Places, arranged, chosen

NETWORK = (["left", "right", "grip"], ["left", "right", "grip"])
PLACES = {
    name: Places.of((dims, dims), NETWORK, f"embodiment {name}")
    for name, dims in {"both": ["grip", "right", "left"], "one": ["right"], "other": ["left"]}.items()
}


def test_each_number_finds_its_place_by_name():
    raw = {
        "embodiment": torch.tensor([0, 1, 0, 2]),
        "state": torch.arange(12.0).view(4, 3),
        "next_state": torch.arange(12.0).view(4, 3) + 100,
        "action": torch.arange(24.0).view(4, 2, 3),
        "action_dim_mask": torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 0, 0]]).float(),
        "reward": torch.ones(4),
    }
    moved = arranged(raw, PLACES, torch.tensor([0.5, 0.6, 0.7]), 3)
    assert moved["state"].tolist() == [
        [2, 1, 0],
        [0.5, 3, pytest.approx(0.7)],
        [8, 7, 6],
        [9, pytest.approx(0.6), pytest.approx(0.7)],
    ]
    assert moved["next_state"][0].tolist() == [102, 101, 100]
    assert moved["action"][0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert moved["action"][1].tolist() == [[0, 6, 0], [0, 9, 0]]
    assert moved["action_dim_mask"].tolist() == [[1, 1, 1], [0, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert moved["reward"] is raw["reward"]


def test_a_robots_embodiment_is_known_by_its_width_or_told():
    assert chosen(PLACES, 3) is PLACES["both"]
    assert chosen(PLACES, 1, "other") is PLACES["other"]
    with pytest.raises(UserError, match="fit several of the embodiments .*; say whose they are"):
        chosen(PLACES, 1)
    with pytest.raises(UserError, match="states of 2 numbers fit none of the embodiments"):
        chosen(PLACES, 2)
    with pytest.raises(UserError, match="embodiment arm: state gripp is not among left, right, grip"):
        Places.of((["gripp"], ["grip"]), NETWORK, "embodiment arm")
