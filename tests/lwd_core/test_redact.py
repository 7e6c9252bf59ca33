import pytest

from lwd_core.redact import redacted, without_secrets


def test_values_of_secret_variables_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a1b2c3d4e5f6")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lake/secret+1")
    assert redacted("401 for a1b2c3d4e5f6 and lake/secret+1 at /x") == "401 for *** and *** at /x"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:pw@host/x?a=1", "https://***@host/x?a=1"),
        ("GET /x?token=abc&b=2", "GET /x?token=***&b=2"),
        ("Authorization: Bearer hf_abc.d", "Authorization: Bearer ***"),
        ("max_tokens of updates 5", "max_tokens of updates 5"),
        ("a@b and s3://bucket/a@b", "a@b and s3://bucket/a@b"),
    ],
)
def test_credentials_within_a_text_are_hidden(text: str, left: str) -> None:
    assert redacted(text) == left


def test_fields_called_so_are_hidden_wherever_they_are() -> None:
    told = {"follow": {"api_key": "x", "where": "a = 1"}, "init": ["s3://k:s@b/c"], "gamma": 0.9, "n": None}
    assert without_secrets(told) == {
        "follow": {"api_key": "***", "where": "a = 1"},
        "init": ["s3://***@b/c"],
        "gamma": 0.9,
        "n": None,
    }
