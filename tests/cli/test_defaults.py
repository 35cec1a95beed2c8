"""Defaults from presets and TOML files."""

import pytest

from xcoreg import presets
from xcoreg.errors import OptionError


@pytest.fixture
def where(tmp_path, monkeypatch):
    """An empty folder to work in, and a way to write files there."""
    monkeypatch.chdir(tmp_path)
    return lambda name, text: (tmp_path / name).write_text(text)


def test_a_preset_fills_what_is_not_typed(run, images, where):
    result = run("points", images.ref, images.tgt, "p.csv", "--preset", "landsat-c2", "--spacing", 90)
    assert result.exit_code == 0, result.output
    assert "--window 128 from the preset landsat-c2" in result.stderr
    assert "--spacing" not in result.stderr


def test_a_file_of_the_project_is_found_and_named(run, images, where):
    where(
        "pyproject.toml",
        "[project]\nname = 'x'\n[tool.xcoreg]\nwindow = 96\nspacing = 77\n[tool.xcoreg.match]\nwindows = 4\n",
    )
    result = run("match", images.ref, images.tgt)
    assert result.exit_code == 0, result.output
    assert "defaults  --window 96, --windows 4 from pyproject.toml" in result.stderr
    assert '"window": 96' in result.stdout


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_preset(run, images, where):
    where("mine.toml", "preset = 'landsat-c2'\nspacing = 60\nwindow = 96")
    result = run("points", images.ref, images.tgt, "p.csv", "--config", "mine.toml", "--window", 64)
    assert result.exit_code == 0, result.output
    assert "--spacing 60" in result.stderr
    assert "--window" not in result.stderr.splitlines()[0]


def test_a_preset_in_a_file_counts(run, images, where):
    where("xcoreg.toml", "preset = 'landsat-c2'")
    result = run("points", images.ref, images.tgt, "p.csv")
    assert "--window 128 from the preset landsat-c2" in result.stderr
    assert "--preset landsat-c2 from xcoreg.toml" in result.stderr


def test_lists_and_tables_are_what_the_shell_would_give(run, images, where):
    where("xcoreg.toml", "[warp]\nfilters = ['reliability', 'model']\nmodel = 'affine'\nco = {COMPRESS = 'zstd'}\n")
    result = run("warp", images.ref, images.tgt, "w.tif", "--spacing", 60, "--window", 64)
    assert result.exit_code == 0, result.output
    import rasterio

    with rasterio.open("w.tif") as file:
        assert file.compression.name == "zstd"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("windw = 3", "did you mean 'window'"),
        ("[mach]\nwindow = 3", "did you mean 'match'"),
        ("window = ", "is not TOML"),
        ("ref = 'a.tif'", "there is no option 'ref'"),
    ],
)
def test_a_wrong_file_is_bad_input(run, images, where, text, sentence):
    where("xcoreg.toml", text)
    result = run("match", images.ref, images.tgt)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_a_missing_file_is_bad_input(run, images, where):
    result = run("match", images.ref, images.tgt, "--config", "no.toml")
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_a_preset_of_heights_is_refused_for_images(run, images):
    result = run("match", images.ref, images.tgt, "--preset", "dem")
    assert result.exit_code == 2
    assert "elevation models" in result.stderr


def test_the_band_depends_on_the_image(run, tmp_path, images, make_tif):
    import numpy as np
    import rasterio

    for name in ("ref", "tgt"):
        with rasterio.open(getattr(images, name)) as file:
            plane, how = file.read(1), {"transform": file.transform, "crs": file.crs}
        flat = np.full_like(plane, 7)
        make_tif(f"{name}4.tif", np.stack([flat, flat, flat, plane]), **how)
    result = run("match", tmp_path / "ref4.tif", tmp_path / "tgt4.tif", "--preset", "planetscope", "--window", 128)
    assert result.exit_code == 0, result.output
    assert "--band 4, --ref-band 4 from the preset planetscope" in result.stderr


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_is_complete(name):
    preset = presets.PRESETS[name]
    assert preset.title
    assert preset.why
    assert preset.mask
    for verb in ("dem", "dem_local") if name == "dem" else ("match", "match_local"):
        assert presets.options(name, verb)
    if preset.window:
        assert preset.spacing < preset.window or preset.spacing <= 800
        assert all(1 <= band <= n for n, band in preset.bands.items())


def test_what_is_no_preset_is_refused():
    with pytest.raises(OptionError, match="did you mean 'landsat-c2'"):
        presets.options("landsat-c3")
    with pytest.raises(OptionError, match="choose from match"):
        presets.options("drone", "shift")


def test_a_window_that_does_not_fit_gives_way_to_the_default(run, images, tmp_path):
    result = run("match", images.ref, images.tgt, "--preset", "pleiades")
    assert result.exit_code == 0, result.output
    assert "the overlap is too small for the window of the preset" in result.stderr
    typed = run("match", images.ref, images.tgt, "--preset", "pleiades", "--window", 500)
    assert typed.exit_code == 2
