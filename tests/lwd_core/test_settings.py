import pytest

from lwd_core.errors import UserError
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


def test_variables_are_read_in_any_case_and_upper_case_goes_first(monkeypatch):
    monkeypatch.setenv("lwd_landing", "s3://inbox/lower")
    assert Settings().landing == "s3://inbox/lower"
    monkeypatch.setenv("LWD_LANDING", "s3://inbox/upper")
    assert Settings().landing == "s3://inbox/upper"


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


def test_a_file_gives_what_the_environment_does_not(tmp_path, monkeypatch):
    (tmp_path / "lwd.toml").write_text(
        'landing = "s3://inbox/robots"\nkeep_days = 7\nnightly = "30 1 * * *"\n'
    )
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    monkeypatch.setenv("LWD_KEEP_DAYS", "14")
    settings = Settings()
    assert (settings.landing, settings.keep_days, settings.nightly) == ("s3://inbox/robots", 14, "30 1 * * *")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("landng = 'x'", "landng: no such setting"),
        ("keep_days = 'long'", "keep_days"),
        ("nightly = 'at night'", "nightly"),
        ("train_on = 'moon'", "train_on"),
        ("keep_days = ", "not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(tmp_path, monkeypatch, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    monkeypatch.setenv("LWD_CONFIG", str(path))
    with pytest.raises(UserError, match=said) as error:
        Settings()
    assert "mine.toml" in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LWD_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UserError, match="none.toml"):
        Settings()
