import pytest
from matplotlib.image import imread

from lwd_core.errors import UserError
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.quality import QUALITY
from lwd_core.reports.episode_page import action_figure, episode_page, state_figure
from tests.lwd_core.recorded import ARM, recorded_lake


@pytest.fixture
def lake(tmp_path):
    return recorded_lake(tmp_path / "lake")


def test_the_view_holds_what_the_lake_holds(lake):
    run_labellers(lake, [QUALITY], embodiments={"arm": ARM}, now_ns=1)
    view = lake.episode("e0001")
    assert view.facts["task"] == "reach"
    assert view.steps.num_rows == 51
    assert set(view.labels["layer_id"].to_pylist()) == {"quality@1"}


def test_the_page_shows_frames_names_and_verdicts(lake, tmp_path):
    run_labellers(lake, [QUALITY], embodiments={"arm": ARM}, now_ns=1)
    page = episode_page(lake, lake.episode("e0001"), ARM)
    assert page.count("data:image/jpeg;base64,") == 6
    assert page.count("data:image/png;base64,") == 2
    assert "defect.masked" in page
    assert "ticks miss a fresh feature" in page


def test_a_text_from_a_log_cannot_become_markup(lake):
    view = lake.episode("e0001")
    view.facts["instruction"] = "<script>alert(1)</script>"
    assert "<script>" not in episode_page(lake, view, ARM)


def test_figures_are_pictures_and_work_without_an_embodiment(lake, tmp_path):
    view = lake.episode("e0000")
    for i, image in enumerate((action_figure(view, []), state_figure(view, []))):
        path = tmp_path / f"{i}.png"
        path.write_bytes(image)
        assert imread(path).std() > 0.01


def test_an_ambiguous_or_unknown_episode_is_said(lake):
    with pytest.raises(UserError, match="3 episodes start like this"):
        lake.episode("e")
    with pytest.raises(UserError, match="no such episode"):
        lake.episode("zz")
