from urllib.parse import parse_qs, urlsplit

import pytest

from lwd_core.logs.deep_links import DeepLinks, deep_links, moment

AT = 1_764_398_862_123_456_789


def test_a_moment_keeps_its_nanoseconds():
    assert moment(AT) == "2025-11-29T06:47:42.123456789Z"
    assert moment(-1) == "1969-12-31T23:59:59.999999999Z"


def test_a_served_log_opens_at_its_moment():
    url = "http://127.0.0.1:8000/logs/a b.mcap?key=1&x=2"
    links = deep_links("north/2025-11-29/r1/a b.mcap", AT, url=url)
    assert links.foxglove is not None
    asked = urlsplit(links.foxglove)
    assert (asked.scheme, asked.netloc) == ("foxglove", "open")
    assert parse_qs(asked.query) == {"ds": ["remote-file"], "ds.url": [url], "time": [moment(AT)]}
    assert links.rerun == f"{url}#when=message_log_time@{moment(AT)}"
    assert links.command == f"rerun --bind 127.0.0.1 '{links.rerun}'"


def test_a_file_is_opened_by_a_command():
    links = deep_links("/home/landing/it's.mcap", AT)
    assert links == DeepLinks(command="""rerun --bind 127.0.0.1 '/home/landing/it'"'"'s.mcap'""")


@pytest.mark.parametrize(
    ("log", "url", "has"),
    [
        ("a.bag", "http://127.0.0.1/a.bag", (True, False, False)),
        ("set", "http://127.0.0.1/set", (False, False, False)),
        ("s3://bucket/a.mcap", None, (False, False, False)),
        ("s3://bucket/a.mcap", "https://bucket/a.mcap", (True, True, True)),
        ("https://host/a.MCAP", None, (True, True, True)),
    ],
)
def test_only_what_can_open_it_is_named(log, url, has):
    links = deep_links(log, url=url)
    assert (links.foxglove is not None, links.rerun is not None, links.command is not None) == has
