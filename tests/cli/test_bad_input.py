"""Bad input: one clear sentence with the cure, its own exit code, and nothing left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

NOISE = np.random.default_rng(0).integers(1, 4000, (300, 300)).astype(np.uint16)


@pytest.fixture
def bad(make_tif, tmp_path):
    """Make an image of one fault."""

    def make(fault):
        if fault == "missing":
            return str(tmp_path / "nowhere.tif")
        if fault == "not a raster":
            path = tmp_path / "text.tif"
            path.write_text("I am a letter")
            return str(path)
        values, profile = {
            "no CRS": (NOISE, {"crs": None}),
            "no transform": (NOISE, {"transform": None}),
            "complex": (NOISE.astype(np.complex64), {}),
            "NaN everywhere": (np.full((300, 300), np.nan, np.float32), {}),
            "nodata everywhere": (np.zeros((300, 300), np.uint16), {"nodata": 0}),
            "far away": (NOISE, {"crs": "EPSG:32610"}),
            "CRS unknown": (NOISE, {"crs": 'LOCAL_CS["quarry",UNIT["metre",1]]'}),
            "one pixel": (NOISE[:1, :1], {}),
        }[fault]
        return make_tif("bad.tif", values, **profile)

    return make


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("role", ["reference", "target"])
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("missing", "nowhere.tif"),
        ("not a raster", "text.tif"),
        ("no CRS", "rio edit-info --crs"),
        ("no transform", "rio edit-info --transform"),
        ("complex", "abs("),
        ("NaN everywhere", "no valid pixel"),
        ("nodata everywhere", "no valid pixel"),
        ("far away", "overlap"),
        ("CRS unknown", "quarry"),
        ("one pixel", "overlap"),
    ],
)
def test_a_bad_image_is_refused_in_one_sentence(run, bad, make_tif, tmp_path, fault, word, role):
    good, faulty = make_tif("good.tif", NOISE), bad(fault)
    before = sorted(tmp_path.iterdir())
    pair = (faulty, good) if role == "reference" else (good, faulty)
    result = run("shift", *pair, tmp_path / "out.tif")
    assert result.exit_code == 2, result.stderr
    assert word in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("role", ["reference", "target"])
def test_a_damaged_image_is_named(run, make_tif, tmp_path, role):
    good, intact = make_tif("good.tif", NOISE), make_tif("intact.tif", NOISE, compress="deflate", tiled=True)
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(Path(intact).read_bytes()[:20_000])
    before = sorted(tmp_path.iterdir())
    pair = (damaged, good) if role == "reference" else (good, damaged)
    result = run("shift", *pair, tmp_path / "out.tif")
    assert result.exit_code in (1, 2)
    assert "damaged.tif" in result.stderr
    assert "bug" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--band", "7"], "1 band"),
        (["--ref-band", "nir"], "1 band"),
        (["--window", "900"], "larger than the overlap"),
        (["--window", "3"], "at least"),
        (["--at", "0", "0"], "overlap"),
        (["--max-shift", "-1"], "positive"),
        (["--footprint", "POLYGON"], "--footprint"),
        (["--where", "nowhere.gpkg"], "nowhere.gpkg"),
        (["--co", "TILED"], "KEY=VALUE"),
        (["--like", "nowhere.tif"], "nowhere.tif"),
        (["--driver", "NoSuchFormat"], "NoSuchFormat"),
        (["--driver", "VRT"], "VRT"),
    ],
)
def test_a_bad_option_is_refused_in_one_sentence(run, images, tmp_path, options, word):
    result = run("shift", images.ref, images.tgt, tmp_path / "out.tif", *options)
    assert result.exit_code == 2, result.stderr
    assert word in result.stderr
    assert result.stderr.count("Error:") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_output_is_refused_before_the_match(run, images, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("mine")
    out.chmod(0o444)
    result = run("shift", images.ref, images.tgt, out, "--overwrite")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "read-only" in result.stderr
    assert out.read_text() == "mine"


def test_an_unknown_suffix_is_refused_before_the_match(run, images, tmp_path):
    result = run("shift", images.ref, images.tgt, tmp_path / "out.xyzzy")
    assert result.exit_code == 2
    assert "xyzzy" in result.stderr
    assert "shift" not in result.stderr.split("Error:")[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_refused(run, images, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    result = run("shift", images.ref, images.tgt, tmp_path / "locked" / "out.tif")
    assert result.exit_code == 2
    assert "not writable" in result.stderr


@pytest.mark.parametrize("what", ["noise", "flat"])
def test_a_pair_without_an_answer_ends_with_3_and_the_reason(run, images, make_tif, tmp_path, what):
    with rasterio.open(images.tgt) as tgt:
        transform = tgt.transform
    values = np.random.default_rng(5).integers(1, 4000, (320, 320)).astype(np.uint16)
    if what == "flat":
        values = np.full((320, 320), 9, np.uint16)
    other = make_tif("other.tif", values, transform=transform, nodata=0)
    result = run("match", images.ref, other)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("No trustworthy match: ")
    assert "--verbose" not in result.stderr
