import pytest

from lwd_core.settings import PLACES, Settings


def test_everything_lies_below_home(tmp_path):
    settings = Settings(home=str(tmp_path))
    assert {name: getattr(settings, name) for name in PLACES} == {n: f"{tmp_path}/{n}" for n in PLACES}
    assert settings.keys == f"{tmp_path}/keys"


def test_a_place_can_be_set_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    monkeypatch.setenv("LWD_LANDING", "s3://inbox/robots")
    settings = Settings()
    assert settings.landing == "s3://inbox/robots"
    assert settings.lake == f"{tmp_path}/lake"


def test_a_relative_home_does_not_move_with_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Settings(home="data").lake == f"{tmp_path}/data/lake"


def test_keys_never_lie_in_a_bucket():
    settings = Settings(home="s3://fleet/lwd/")
    assert settings.lake == "s3://fleet/lwd/lake"
    assert "://" not in settings.keys


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().home = "elsewhere"
