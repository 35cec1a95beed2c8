"""Outputs that appear whole or not at all."""

from __future__ import annotations

import pytest

from xcoreg.errors import OptionError
from xcoreg.files import check_output, gdal_path, local_path, new_file, same_file


def test_web_addresses_carry_their_settings():
    path = gdal_path("https://host/a.tif?sig=1&x=2")
    assert path.startswith("/vsicurl?list_dir=no&empty_dir=yes&max_retry=4&retry_delay=0.5&url=https%3A%2F%2Fhost")
    assert path.endswith("sig%3D1%26x%3D2")


def test_what_is_local(tmp_path):
    assert local_path("a/b.tif") is not None
    assert local_path("s3://bucket/a.tif") is None
    odd = tmp_path / "NETCDF:odd.nc"
    odd.write_text("")
    assert local_path(odd) == odd


def test_same_file_through_a_link(tmp_path):
    (tmp_path / "a.tif").write_text("")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    assert same_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert not same_file(tmp_path / "a.tif", tmp_path / "c.tif")


def test_outputs_that_cannot_be(tmp_path):
    source = tmp_path / "a.tif"
    source.write_text("")
    for path, options, sentence in (
        (source, {"inputs": (source,)}, "is the input itself: give another path"),
        (tmp_path, {}, "it is a folder"),
        (tmp_path / "no" / "b.tif", {}, "there is no folder"),
        (source, {"overwrite": False}, "exists: give another path"),
        ("https://host/a.tif", {}, "give a local path"),
    ):
        with pytest.raises(OptionError, match=sentence):
            check_output(path, **options)


def test_read_only_outputs_are_refused_even_for_root(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("")
    path.chmod(0o444)
    with pytest.raises(OptionError, match="the file is read-only"):
        check_output(path)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError("no")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OptionError, match="is not writable"):
        check_output(tmp_path / "a.tif")


def test_nothing_is_left_of_a_failure(tmp_path):
    def fail(place):
        place.write_text("half")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), new_file(tmp_path / "a.tif") as place:
        fail(place)
    assert list(tmp_path.iterdir()) == []


def test_sidecars_move_along(tmp_path):
    with new_file(tmp_path / "a.bsq") as place:
        place.write_text("data")
        place.with_suffix(".hdr").write_text("header")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bsq", "a.hdr"]


def test_the_goal_is_untouched_until_the_end(tmp_path):
    goal = tmp_path / "a.tif"
    goal.write_text("old")
    with new_file(goal) as place:
        place.write_text("new")
        assert goal.read_text() == "old"
    assert goal.read_text() == "new"
