import pytest

from lwd_core.places import join, read_whole, write_whole


def test_what_is_written_is_read(tmp_path):
    place = join(str(tmp_path), "a", "b.bin")
    assert read_whole(place) is None
    write_whole(place, b"one")
    write_whole(place, b"two")
    assert read_whole(place) == b"two"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    place = join(str(tmp_path), "b.bin")
    write_whole(place, b"old")
    monkeypatch.setattr("os.fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "no space left on device")))
    with pytest.raises(OSError, match="no space"):
        write_whole(place, b"new")
    assert read_whole(place) == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["b.bin"]


def test_a_bucket_is_a_place_too():
    write_whole("memory://bucket/x/y.json", b"{}")
    assert read_whole("memory://bucket/x/y.json") == b"{}"
    assert read_whole("memory://bucket/x/z.json") is None


@pytest.mark.parametrize("part", ["", "/etc", "a/../../b", ".."])
def test_a_name_may_not_climb_out(part):
    with pytest.raises(ValueError, match="no name below"):
        join("root", part)
