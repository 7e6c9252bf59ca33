"""What cameras showed, in a few numbers: of each row, kept with a model, refused where there is none."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.judges.observations import observations
from lwd_core.judges.pictures import FrameView
from lwd_core.lake.store import Lake
from tests.lwd_core.recorded import recorded_lake
from tests.lwd_core.search.featured import LAYER, with_features


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = recorded_lake(tmp_path / "lake")
    with_features(lake, without=())
    return lake


def test_rows_have_what_was_shown_last(lake: Lake) -> None:
    pictures = FrameView.of(lake, "grey", ["front"])
    assert pictures.about() == {"layer": LAYER, "cameras": ["front"]}
    episode = lake.episode("e0000")
    shown = pictures(episode)
    assert shown.shape == (41, 4)
    assert np.isnan(shown[::2]).all()
    step = 7
    feature = np.array([np.cos(step / 10), np.sin(step / 10), 0, 1])
    back = shown[step] @ pictures.basis.T + pictures.mean
    assert back == pytest.approx(feature, abs=1e-2)
    seen = observations(episode, pictures)
    assert seen.shape == (41, 3 + 4)
    assert (seen[8, 3:] == shown[7]).all()
    assert (seen[0, 3:] == shown[1]).all()
    again = FrameView.from_kept(lake, pictures.about(), pictures.arrays())
    assert np.array_equal(again(episode), shown, equal_nan=True)


def test_what_has_no_features_is_refused(lake: Lake) -> None:
    with_features(lake, without=(3,))
    with pytest.raises(UserError, match=f"1 of its frames of front have no features of {LAYER}"):
        FrameView.of(lake, LAYER, ["front"])(lake.episode("e0000"))
    with pytest.raises(UserError, match="it has no frame of camera wrist"):
        FrameView.of(lake, LAYER, ["wrist"])(lake.episode("e0000"))
    with pytest.raises(UserError, match="features mobile: no such layer"):
        FrameView.of(lake, "mobile", ["front"])
