"""The commands keep what belongs to bands, in whatever format, and refuse formats before they match."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from tests.io.test_tags import HEADER, RPCS

from xcoreg.io.write import write_raster
from xcoreg.simulate import pair
from xcoreg.simulate.terrain import dem_pair


@pytest.fixture(scope="module")
def scene():
    return pair((200, 200), shift=(4.0, -3.0), seed=1)


@pytest.fixture
def files(scene, tmp_path):
    """A reference, and a target of two bands with tags and RPCs."""
    write_raster(scene.ref, tmp_path / "ref.tif")
    profile = {"driver": "GTiff", "width": 200, "height": 200, "count": 2, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "tgt.tif", "w", **profile, transform=scene.tgt.rio.transform(), nodata=0) as file:
        file.write(np.stack([scene.tgt.values] * 2))
        file.update_tags(ns="RPC", **RPCS)
        for band, wavelength in ((1, 490), (2, 842)):
            file.update_tags(band, wavelength=str(wavelength))
            file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"0.{wavelength}")
    return str(tmp_path / "ref.tif"), str(tmp_path / "tgt.tif")


OUTPUTS = [
    ("a.tif", []), ("a.tif", ["--co", "compress=deflate"]), ("a.tif", ["--driver", "COG"]), ("a.bsq", []),
    ("a.tif", ["--align-grid"]), ("a.tif", ["--like", "ref.tif"]), ("a.jp2", []), ("a.png", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OUTPUTS)
def test_bands_keep_their_tags_and_rpcs_agree_with_the_transform(run, files, tmp_path, name, options):
    options = [str(tmp_path / one) if one == "ref.tif" else one for one in options]
    done = run("shift", *files, tmp_path / name, *options)
    assert done.exit_code == 0
    with rasterio.open(tmp_path / name) as file:
        assert "wavelength" not in file.tags()
        assert [file.tags(band)["wavelength"] for band in (1, 2)] == ["490", "842"]
        assert file.tags(2, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.842"}
        if options[:1] in (["--align-grid"], ["--like"]):
            assert file.rpcs is None
            assert "RPCs" in done.stderr
        else:
            assert (file.rpcs.samp_off, file.rpcs.line_off) == pytest.approx((60, 131), abs=0.01)


def test_a_header_of_envi_is_kept(run, scene, files, tmp_path):
    np.stack([scene.tgt.values] * 3).astype("<u2").tofile(tmp_path / "envi.bsq")
    header = HEADER.replace("samples = 20\nlines = 30", "samples = 200\nlines = 200")
    x, y = scene.tgt.rio.transform().c, scene.tgt.rio.transform().f
    (tmp_path / "envi.hdr").write_text(header.replace("300000, 5900000", f"{x}, {y}"))
    assert run("shift", files[0], tmp_path / "envi.bsq", tmp_path / "out.bsq").exit_code == 0
    made = (tmp_path / "out.hdr").read_text()
    for line in ("wavelength = {450.5, 550.5, 650.5}", "bbl = {1, 0, 1}", "reflectance scale factor = 10000"):
        assert line in made


REFUSED = [
    (["a.tif", "--co", "squeeze=deflate"], "creation option SQUEEZE"),
    (["a.tif", "--co", "compress=quux"], "COMPRESS"),
    (["a.jpg"], "cannot be written as JPEG"),
    (["a.webp"], "cannot be written as WEBP"),
]


@pytest.mark.parametrize(("output", "message"), REFUSED)
def test_a_format_is_refused_before_the_matching(run, files, tmp_path, monkeypatch, output, message):
    def never(*_, **__):
        raise AssertionError("matched")

    monkeypatch.setattr("xcoreg.cli.match.match_files", never)
    done = run("shift", *files, tmp_path / output[0], *output[1:])
    assert done.exit_code == 2
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ref.tif", "tgt.tif"]


def test_a_batch_refuses_options_before_any_scene(run, files, tmp_path):
    done = run("batch", files[1], "--ref", files[0], "--out", tmp_path / "out", "--co", "squeeze=zstd")
    assert done.exit_code == 2
    assert "SQUEEZE" in done.stderr
    assert not list(Path(tmp_path).glob("out/*.tif"))


# --- elevation models ------------------------------------------------------------------------------------------------


@pytest.fixture
def terrain(tmp_path):
    """A reference in metres and a target of heights in feet, their error and a count."""
    both = dem_pair((200, 200), shift=(9.0, -4.0, -2.0), seed=1)
    profile = {"driver": "GTiff", "width": 200, "height": 200, "dtype": "float32", "crs": "EPSG:32633"}
    heights = both.tgt.values / np.float32(0.3048)
    bands = [heights, np.ones_like(heights), 3 * np.ones_like(heights)]
    images = {
        "ref": ([both.ref.values], ["m"], ["height"]),
        "tgt": (bands, ["ft", "ft", "1"], ["dem", "dem_error", "n"]),
    }
    for name, (bands, units, names) in images.items():
        path, image = tmp_path / f"{name}.tif", both.ref if name == "ref" else both.tgt
        with rasterio.open(path, "w", **profile, count=len(bands), transform=image.rio.transform()) as file:
            file.write(np.stack(bands))
            file.units, file.descriptions = units, names
    return tmp_path / "ref.tif", tmp_path / "tgt.tif"


@pytest.mark.parametrize("options", [[], ["--align-grid"], ["--resampling", "nearest"], ["--block", "60"]])
def test_heights_in_feet_are_corrected_in_feet_in_their_band_alone(run, terrain, tmp_path, options):
    done = run("dem", *terrain, tmp_path / "out.tif", "--save-fit", tmp_path / "fit.json", *options)
    assert done.exit_code == 0
    assert " ft" in done.stderr
    assert " m before" not in done.stderr
    fit = json.loads((tmp_path / "fit.json").read_text())
    assert (fit["shift"]["unit_z"], fit["details"]["heights"]["unit"]) == ("ft", "ft")
    with rasterio.open(tmp_path / "out.tif") as file, rasterio.open(terrain[1]) as before:
        assert file.units == ("ft", "ft", "1")
        new, old = file.read(masked=True), before.read()
    assert float(np.ma.median(new[0]) - np.median(old[0])) * 0.3048 == pytest.approx(-2, abs=0.5)
    assert (float(np.ma.median(new[1])), float(np.ma.median(new[2]))) == pytest.approx((1, 3), abs=1e-5)
