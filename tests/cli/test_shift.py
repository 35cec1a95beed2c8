import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from xcoreg.results.reading import load_fit


def read(path):
    with rasterio.open(path) as image:
        return image.read(), image.transform, image.profile


def checksum(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_shift_moves_the_transform_and_no_pixel(run, images, tmp_path):
    out = tmp_path / "out.tif"
    result = run("shift", images.ref, images.tgt, out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    before, old, profile = read(images.tgt)
    after, new, moved_profile = read(out)
    np.testing.assert_array_equal(after, before)
    assert new.c - old.c == pytest.approx(10 * images.dcol, abs=0.2)
    assert new.f - old.f == pytest.approx(-10 * images.drow, abs=0.2)
    assert {key: moved_profile[key] for key in ("nodata", "dtype", "compress", "crs", "blockxsize")} == {
        key: profile[key] for key in ("nodata", "dtype", "compress", "crs", "blockxsize")
    }


def test_the_inputs_are_not_touched(run, images, tmp_path):
    before = checksum(images.ref), checksum(images.tgt)
    assert run("shift", images.ref, images.tgt, tmp_path / "out.tif").exit_code == 0
    assert (checksum(images.ref), checksum(images.tgt)) == before


def test_the_output_matches_the_reference(run, images, tmp_path):
    out = tmp_path / "out.tif"
    run("shift", images.ref, images.tgt, out)
    answer = json.loads(run("match", images.ref, out).stdout)["answer"]
    assert abs(answer["dcol"]) < 0.03
    assert abs(answer["drow"]) < 0.03


@pytest.mark.parametrize(
    ("name", "driver", "options"),
    [
        ("out.img", "HFA", ["--driver", "HFA"]),
        ("out.bsq", "ENVI", []),
        ("out.png.tif", "GTiff", ["--co", "COMPRESS=LZW"]),
        ("out.dat", "ENVI", ["--driver", "ENVI"]),
        ("cog.tif", "GTiff", ["--driver", "COG"]),
    ],
)
def test_other_formats_hold_the_same_pixels(run, images, tmp_path, name, driver, options):
    out = tmp_path / name
    result = run("shift", images.ref, images.tgt, out, *options)
    assert result.exit_code == 0, result.stderr
    before, old, _ = read(images.tgt)
    after, new, profile = read(out)
    np.testing.assert_array_equal(after, before)
    assert profile["driver"] == driver
    assert new.f - old.f == pytest.approx(-10 * images.drow, abs=0.2)


def test_creation_options_reach_gdal(run, images, tmp_path):
    out = tmp_path / "out.tif"
    run(
        "shift",
        images.ref,
        images.tgt,
        out,
        "--co",
        "COMPRESS=ZSTD",
        "--co",
        "TILED=YES",
        "--co",
        "BLOCKXSIZE=64",
        "--co",
        "BLOCKYSIZE=64",
    )
    assert read(out)[2]["compress"] == "zstd"
    assert read(out)[2]["blockxsize"] == 64


def test_align_grid_resamples_onto_the_lattice_of_the_reference(run, images, tmp_path):
    out = tmp_path / "out.tif"
    assert run("shift", images.ref, images.tgt, out, "--align-grid", "--resampling", "lanczos").exit_code == 0
    values, transform, profile = read(out)
    _, ref, _ = read(images.ref)
    assert ((transform.c - ref.c) / 10) % 1 == pytest.approx(0, abs=1e-9)
    assert ((transform.f - ref.f) / 10) % 1 == pytest.approx(0, abs=1e-9)
    assert profile["dtype"] == "uint16"
    assert values.std() > 0


def test_like_gives_exactly_that_grid(run, images, tmp_path):
    out = tmp_path / "out.tif"
    assert run("shift", images.ref, images.tgt, out, "--like", images.ref).exit_code == 0
    values, transform, _ = read(out)
    ref, ref_transform, _ = read(images.ref)
    assert transform == ref_transform
    inner = np.s_[0, 20:-20, 20:-20]
    difference = values[inner].astype(float) - ref[inner]
    assert difference.std() < 0.15 * ref[inner].std()


def test_the_fit_is_saved_beside_the_image(run, images, tmp_path):
    run("shift", images.ref, images.tgt, tmp_path / "out.tif", "--save-fit", tmp_path / "fit.json")
    assert load_fit(tmp_path / "fit.json").shift.dcol == pytest.approx(images.dcol, abs=0.02)


def test_an_existing_output_is_replaced_only_with_overwrite(run, images, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("mine")
    refused = run("shift", images.ref, images.tgt, out)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert out.read_text() == "mine"
    assert run("shift", images.ref, images.tgt, out, "--overwrite").exit_code == 0
    assert read(out)[2]["driver"] == "GTiff"


@pytest.mark.parametrize("which", ["ref", "tgt"])
def test_the_output_must_not_be_an_input(run, images, which):
    path = getattr(images, which)
    before = checksum(path)
    result = run("shift", images.ref, images.tgt, path, "--overwrite")
    assert result.exit_code == 2
    assert "input itself" in result.stderr
    assert checksum(path) == before


def test_nothing_is_written_without_a_match(run, images, make_tif, tmp_path):
    flat = make_tif("flat.tif", np.full((320, 320), 7, np.uint16), transform=read(images.tgt)[1], nodata=0)
    result = run("shift", images.ref, flat, tmp_path / "out.tif")
    assert result.exit_code == 3
    assert result.stderr.startswith("No trustworthy match: ")
    assert [path.name for path in tmp_path.iterdir()] == ["flat.tif"]


@pytest.mark.parametrize("which", ["ref", "tgt", "out"])
def test_the_fit_must_not_replace_an_image(run, images, tmp_path, which):
    out = tmp_path / "out.tif"
    before = checksum(images.ref), checksum(images.tgt)
    fit = out if which == "out" else getattr(images, which)
    result = run("shift", images.ref, images.tgt, out, "--save-fit", fit)
    assert result.exit_code == 2
    assert (checksum(images.ref), checksum(images.tgt)) == before
    assert not out.exists()


def test_two_envi_images_do_not_share_a_header(run, images, tmp_path):
    assert run("shift", images.ref, images.tgt, tmp_path / "out.bsq").exit_code == 0
    before = checksum(tmp_path / "out.hdr")
    result = run("shift", images.ref, images.tgt, tmp_path / "out.img")
    assert result.exit_code == 2
    assert "out.hdr" in result.stderr
    assert checksum(tmp_path / "out.hdr") == before
    assert run("shift", images.ref, images.tgt, tmp_path / "out.bsq", "--overwrite").exit_code == 0
