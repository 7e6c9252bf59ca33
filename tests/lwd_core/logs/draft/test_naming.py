import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.logs.draft.naming import short_names, unique


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/wrist_cam/compressed", "/overhead_cam/compressed"], ["wrist_cam", "overhead_cam"]),
        (["/camera1/image_raw/compressed", "/camera2/image_raw/compressed"], ["camera1", "camera2"]),
        (["/wrist/image", "/overhead/image"], ["wrist", "overhead"]),
        (["/cam_high/color/image_raw", "/cam_low/color/image_raw"], ["cam_high", "cam_low"]),
        (["/left/joint_states", "/right/joint_states"], ["left", "right"]),
        (["/camera/wrist"], ["wrist"]),
        (["/camera/image_raw"], ["camera"]),
        (["/camera/color/image_raw", "/camera/depth/image_raw"], ["color", "depth"]),
        (["/left/cam/image", "/right/cam/image", "/left/wrist/image"], ["left", "right", "wrist"]),
        (["obs/eef_pose/hand", "obs/target_eef_pose/hand"], ["eef_pose", "target_eef_pose"]),
        (["observation.left.position", "observation.right.position"], ["left", "right"]),
        (["/joint_states"], ["joint_states"]),
    ],
)
def test_topics_are_named_by_the_part_that_differs(topics: list[str], names: list[str]):
    assert list(short_names(topics).values()) == names


@given(st.lists(st.text(st.sampled_from("ab_/.A1 é"), min_size=1, max_size=9), max_size=8, unique=True))
def test_no_two_names_are_alike_whatever_the_topics(topics: list[str]):
    named = short_names(topics)
    assert list(named) == topics
    assert len(set(named.values())) == len(topics)
    assert all(re.fullmatch(r"\w+", n) for n in named.values())


def test_unique_names_keep_the_first_and_number_the_others():
    assert unique(["J1", "j1", "j1_2", "j-1"]) == ["j1", "j1_2", "j1_2_2", "j_1"]
