"""Fields by their names, against the policy that is to answer."""

import numpy as np
import pytest
import simplejpeg

from lwd_core.serve.messages import BadMessage
from lwd_core.serve.query import named, query
from tests.lwd_core.serve.robots import WORDS, Stub

PICTURE = np.full((24, 32, 3), 90, np.uint8)
JPEG = simplejpeg.encode_jpeg(PICTURE)
SEES = Stub(cameras=("top", "wrist"), sizes={"top": {(24, 32)}})
GOOD = {"state": np.zeros(2), "prompt": WORDS, "images/top": PICTURE, "images/wrist": JPEG}


def asked(policy=SEES, **fields):
    return query(named({name: value for name, value in (GOOD | fields).items() if value is not ...}), policy)


@pytest.mark.parametrize(
    "names",
    [
        ("state", "prompt", "images/top", "images/wrist"),
        ("observation/state", "instruction", "observation/top", "observation/wrist"),
        ("observation.state", "task", "observation.images.top", "observation/images/wrist"),
        ("state", "prompt", "top", "wrist"),
    ],
)
def test_names_of_openpi_and_lerobot_mean_the_same(names) -> None:
    found = query(named(dict(zip(names, GOOD.values(), strict=True))), SEES)
    assert found.instruction == WORDS
    assert found.frames is not None
    assert (found.frames["top"] == PICTURE).all()
    assert found.frames["wrist"] == JPEG
    assert found.unused == ()


def test_what_may_be_left_out_or_added() -> None:
    assert asked(**{"images/wrist": None}).frames["wrist"] is None, "masked, as in training"
    assert asked(**{"images/side": PICTURE}).unused == ("side",), "said, not looked at"
    assert asked(Stub(), state=[1, 2.5]).state.tolist() == [1, 2.5]
    assert asked(Stub()).frames is None
    single = Stub()
    single.instructions = (WORDS,)
    assert asked(single, prompt=...).instruction == WORDS


def test_a_policy_of_several_robots_is_told_which_it_is() -> None:
    both = Stub()
    both.widths = {"arm": 2, "hand": 3}
    assert asked(both, embodiment="hand", state=np.zeros(3)).embodiment == "hand"
    assert asked(Stub()).embodiment == ""
    for fields, match in (
        ({}, "embodiment: missing; policy stub-1 learned from arm, hand: send the name"),
        ({"embodiment": "hnd"}, "embodiment: hnd; did you mean hand"),
        ({"embodiment": 3}, "embodiment: 3; policy stub-1 learned from"),
        ({"embodiment": "hand"}, "state: 2 numbers; policy stub-1 takes"),
    ):
        with pytest.raises(BadMessage, match=match):
            asked(both, **fields)
    with pytest.raises(BadMessage, match="embodiment: leg; there are arm; policy stub-1 learned from arm"):
        asked(Stub(), embodiment="leg")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"state": ...}, "state: missing; policy stub-1 takes 2 numbers for arm"),
        ({"state": np.zeros(3)}, "state: 3 numbers; policy stub-1 takes 2 numbers for arm; send what"),
        ({"state": np.zeros((1, 2))}, r"state: shape \(1, 2\); send a vector"),
        ({"state": "12"}, "state: a str; send a vector"),
        ({"state": ["1", "2"]}, "state: a list"),
        ({"state": [True, False]}, "state: a list"),
        ({"state": [10**400, 1]}, "state: a list"),
        ({"state": [0, float("nan")]}, r"state\[1\]: nan is no number .*look after the sensor"),
        ({"state": np.array([-np.inf, 0])}, r"state\[0\]: -inf"),
        ({"state": np.array([0, 1e39])}, r"state\[1\]: 1e\+39 is no number a policy can take"),
        ({"observation/state": np.zeros(2)}, "observation/state: given twice, also under another name"),
        ({"prompt": ...}, "prompt: missing or no text; send what the robot is to do, as 'open the drawer'"),
        ({"prompt": "  "}, "prompt: missing or no text"),
        ({"prompt": 3}, "prompt: missing or no text"),
        ({"prompt": "a" * 1001}, "prompt: 1001 letters; say it in 1000"),
        ({"task": WORDS}, "task: prompt says it already; send one"),
        ({"sate": np.zeros(2)}, "sate: no such field; did you mean state?"),
        ({"rest": True}, "rest: no such field; did you mean reset?"),
        ({"velocity": np.zeros(9)}, "velocity: no such field; there are embodiment, prompt, reset"),
        ({"images/top": ..., "images/topp": PICTURE}, "images/top: missing, .*did you mean topp?"),
        ({"images/top": ...}, "images/top: missing, and policy stub-1 plans by it; sent were none; send its"),
        ({"images/top": None, "images/wrist": None}, "images: all are nil, and policy stub-1 sees by top"),
        ({"images/top": PICTURE[:20]}, "images/top: 32x20 pixels, the policy learned from 32x24"),
        ({"images/wrist": PICTURE.transpose(2, 0, 1)}, r"shape \(3, 24, 32\); send .*channels last"),
        ({"images/wrist": PICTURE.astype(np.float32)}, r"float32 of shape \(24, 32, 3\); send"),
        ({"images/wrist": PICTURE[..., 0]}, r"images/wrist: uint8 of shape \(24, 32\)"),
        ({"images/wrist": np.zeros((5000, 5000, 3), np.uint8)}, "images/wrist: 5000x5000 pixels; send at"),
        ({"images/wrist": np.zeros((0, 9, 3), np.uint8)}, "images/wrist: 9x0 pixels"),
        ({"images/wrist": b"GIF89a"}, "images/wrist: no JPEG .*send a whole one, or an array"),
        ({"images/wrist": "cam.jpg"}, "images/wrist: str; send"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_field_and_remedy(fields, match: str) -> None:
    with pytest.raises(BadMessage, match=match):
        asked(**fields)
