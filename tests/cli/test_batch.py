"""The command batch."""

from __future__ import annotations

import os

import pytest

from xcoreg.simulate import pair


@pytest.fixture
def folder(tmp_path):
    """Two targets that match their reference, and one that does not."""
    from xcoreg.io.write import write_raster

    for name, shift in {"a": (0.5, 0.25), "b": (-1.0, 2.0)}.items():
        both = pair((256, 256), shift=shift, seed=5)
        write_raster(both.tgt, tmp_path / f"t_{name}.tif")
    write_raster(both.ref, tmp_path / "ref.tif")
    write_raster(pair((256, 256), shift=(0, 0), seed=99).tgt, tmp_path / "unlike.tif")
    return tmp_path


def test_a_pattern_of_targets(run, folder):
    result = run("batch", folder / "t_*.tif", "--ref", folder / "ref.tif", "--out", folder / "out")
    assert result.exit_code == 0, result.stderr
    assert "t_a: dcol=+0." in result.stderr
    assert "scenes    2, 0 of them done before" in result.stderr
    again = run("batch", folder / "t_*.tif", "--ref", folder / "ref.tif", "--out", folder / "out")
    assert "scenes    2, 2 of them done before" in again.stderr
    assert result.stdout == ""


def test_refusals_end_with_3_and_failures_with_1(run, folder):
    call = ("batch", *folder.glob("[tu]*.tif"), "--ref", folder / "ref.tif", "--out", folder / "out", "--window", 128)
    refused = run(*call)
    assert refused.exit_code == 3
    assert "1 of 3 scenes were refused, the others are corrected" in refused.stderr
    os.truncate(folder / "t_a.tif", 3000)
    failed = run(*call)
    assert failed.exit_code == 1
    assert "t_a.tif cannot be read, it may be damaged" in failed.stderr


def test_bad_usage_ends_with_2(run, folder):
    assert run("batch", folder / "t_a.tif", "--out", folder / "out").exit_code == 2
    both = run(
        "batch", folder / "t_a.tif", "--ref", folder / "ref.tif", "--out", folder / "out", "--workers", 1,
        "--scheduler", "tcp://h:1",
    )  # fmt: skip
    assert "give one of them" in both.stderr
    spacing = run("batch", folder / "t_a.tif", "--ref", folder / "ref.tif", "--out", folder / "out", "--spacing", 50)
    assert "there is no option 'spacing'" in spacing.stderr


def test_a_folder_is_taken_as_its_rasters_and_what_lies_elsewhere_is_skipped(run, folder):
    import rasterio

    scenes = folder / "scenes"
    scenes.mkdir()
    (folder / "t_a.tif").rename(scenes / "a.tif")
    (scenes / "notes.txt").write_text("no raster")
    with rasterio.open(folder / "t_b.tif") as file:
        values, profile = file.read(), file.profile
    profile["transform"] = rasterio.Affine.translation(90_000, 0) @ profile["transform"]
    with rasterio.open(scenes / "far.tif", "w", **profile) as file:
        file.write(values)
    result = run("batch", scenes, "--ref", folder / "ref.tif", "--out", folder / "out")
    assert result.exit_code == 0, result.stderr
    assert "skipped   far: the valid data of the two images do not overlap" in result.stderr
    assert "--footprint" in result.stderr
    assert "1 corrected, 1 skipped" in (folder / "out" / "index.html").read_text()
    again = run("batch", scenes, "--ref", folder / "ref.tif", "--out", scenes / "out")
    assert "scenes    2, 0 of them" in again.stderr
    assert "scenes    2, 2 of them" in run("batch", scenes, "--ref", folder / "ref.tif", "--out", scenes / "out").stderr


def test_nothing_but_skipped_scenes_is_no_success(run, folder, tmp_path):
    import rasterio

    with rasterio.open(folder / "t_b.tif", "r+") as file:
        file.transform = rasterio.Affine.translation(90_000, 0) @ file.transform
    result = run("batch", folder / "t_b.tif", "--ref", folder / "ref.tif", "--out", folder / "out")
    assert result.exit_code == 3
    assert "none of 1 scenes overlaps" in result.stderr


def test_lines_are_few_when_there_are_many_scenes(capsys):
    from xcoreg.cli.batch import SceneLines
    from xcoreg.cli.console import Console

    lines = SceneLines(Console())
    lines.start(200)
    for number in range(200):
        status = {"status": "failed", "reason": "give ref="} if number == 55 else {"status": "done", "model": "x"}
        lines({"name": f"s{number}", "seconds": {"total": 1.0}} | status)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 11
    assert printed[0] == "done      s19: x, 1.0 s (10 %)"
    assert "failed    s55: give --ref (28 %)" in printed
    assert printed[-1].endswith("(100 %)")
