"""A fit knows what it is for: images elsewhere, images that are corrected already, names and dates in every record."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import xcoreg
from xcoreg.cli import cli
from xcoreg.errors import CoregWarning, NoOverlap, OptionError
from xcoreg.georef import GCPs
from xcoreg.results.coregistration import Coregistration
from xcoreg.simulate import pair, smooth_field

DATE = "2001-09-09T01:46:40+00:00"
GRIDS = {"moved": {}, "resampled": {"align_grid": True}}


@pytest.fixture(scope="module")
def scene():
    return pair((256, 256), shift=(2.0, -1.0), seed=1)


@pytest.fixture(scope="module")
def fit(scene):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1000000000")
        return scene.tgt.coreg.match(scene.ref)


@pytest.fixture
def files(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    monkeypatch.chdir(tmp_path)
    for name in ("ref", "tgt"):
        xcoreg.write_raster(getattr(scene, name), f"{name}.tif")
    return tmp_path


def run(*args):
    done = CliRunner().invoke(cli, list(args))
    assert "Traceback" not in done.stderr
    return done


def elsewhere(image, cols, rows=0):
    """The image, so many of its own widths and heights away."""
    width, height = 10 * image.sizes["x"], 10 * image.sizes["y"]
    transform = image.rio.transform() @ rasterio.Affine.translation(cols * width / 10, rows * height / 10)
    moved = image.assign_coords(x=image.x + cols * width, y=image.y - rows * height)
    return moved.rio.write_transform(transform)


@pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("away", [(1, 0), (0, -1), (40, 9)])
def test_an_image_elsewhere_is_refused(scene, fit, away, options):
    image = elsewhere(scene.tgt, *away)
    with pytest.raises(NoOverlap, match="force=True"):
        image.coreg.apply(fit, **options)
    out = image.coreg.apply(fit, force=True, **options)
    assert json.loads(out.attrs["xcoreg"])[-1]["fit"] == fit.id


def test_so_is_one_in_another_crs_and_one_without_a_transform(scene, fit):
    for image in (scene.tgt, elsewhere(scene.tgt, 3)):
        degrees = image.rio.reproject("EPSG:4326")
        if image is scene.tgt:
            assert degrees.coreg.apply(fit) is not None
            continue
        with pytest.raises(NoOverlap, match="wholly outside"):
            degrees.coreg.apply(fit)
    x, y = 3e5 + 9e4, 5.9e6
    gcps = GCPs([0, 255, 0, 255], [0, 0, 255, 255], [x, x + 2550, x, x + 2550], [y, y, y - 2550, y - 2550], crs=32633)
    with pytest.raises(NoOverlap, match="wholly outside"):
        scene.tgt.drop_vars(["x", "y", "spatial_ref"]).coreg.apply(fit, ground=gcps)


@pytest.mark.parametrize("away", [(0.5, 0.5), (0.0, 0.0), (-0.9, 0.0)])
def test_an_image_partly_within_is_not(scene, fit, away):
    assert elsewhere(scene.tgt, *away).coreg.apply(fit) is not None


@pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
def test_the_same_correction_twice(scene, fit, options):
    once = scene.tgt.coreg.apply(fit, **options)
    with pytest.warns(CoregWarning, match="carries this correction already"):
        twice = once.coreg.apply(fit)
    assert [entry["fit"] for entry in json.loads(twice.attrs["xcoreg"])] == [fit.id] * 2
    assert once.coreg.apply(fit, force=True).equals(twice)


def test_corrections_that_the_fit_does_not_know_or_builds_on(scene, fit):
    once = scene.tgt.coreg.apply(fit)
    second = once.coreg.match(scene.ref)
    assert second.details.origin.corrections == (fit.id,)
    assert once.coreg.apply(second) is not None
    with pytest.warns(CoregWarning, match="lacks one that it builds on"):
        scene.tgt.coreg.apply(second)
    other = pair((256, 256), shift=(1.0, 0.5), seed=1)
    third = other.tgt.coreg.match(other.ref)
    with pytest.warns(CoregWarning, match="does not know"):
        once.coreg.apply(third)


def test_a_correction_of_the_first_version_counts(scene, fit):
    old = '[{"did": "moved the transform", "by": "xcoreg 0.1.0", "model": "translation", "dx": 1.0, "dy": 2.0}]'
    with pytest.warns(CoregWarning, match="does not know"):
        scene.tgt.assign_attrs(xcoreg=old).coreg.apply(fit)
    rectified = '[{"did": "rectified (cubic)", "by": "xcoreg", "model": "affine"}]'
    assert scene.tgt.assign_attrs(xcoreg=rectified).coreg.apply(fit) is not None


def test_two_steps_in_a_row_do_not_warn(scene):
    field = pair((256, 256), shift=smooth_field((256, 256), 0.5, seed=2), seed=1)
    shifted = field.tgt
    for _ in range(2):
        shifted = shifted.coreg.warp_to(field.ref, spacing=40, window=64)
    assert len(json.loads(shifted.attrs["xcoreg"])) == 2


def test_names_and_date_are_in_the_fit_and_do_not_make_it_another(scene, fit, files, monkeypatch):
    opened = xcoreg.match(xcoreg.open_raster("tgt.tif"), xcoreg.open_raster("ref.tif"))
    origin = opened.details.origin
    assert (origin.target, origin.reference, origin.date, origin.corrections) == ("tgt.tif", "ref.tif", DATE, ())
    opened.save("fit.json")
    assert xcoreg.load_fit("fit.json").details.origin == origin
    assert "tgt.tif onto ref.tif" in opened.summary()
    assert DATE in opened.summary()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1100000000")
    later = xcoreg.match(scene.tgt, scene.ref)
    assert later.details.origin.date > DATE
    assert (later == fit, later.id == fit.id) == (True, True)


def test_a_fit_without_an_origin_is_read(fit):
    data = fit.to_dict()
    del data["details"]["origin"]
    again = Coregistration.from_dict(data)
    assert again == fit
    assert again.details.origin.corrections is None


@pytest.mark.parametrize(
    "more", [[], ["--align-grid"], ["--co", "COMPRESS=LZW"]], ids=["copied", "aligned", "rewritten"]
)
def test_tags_of_a_corrected_file(files, more):
    assert run("shift", "ref.tif", "tgt.tif", "out.tif", "--save-fit", "fit.json", *more).exit_code == 0
    with rasterio.open("out.tif") as file:
        (entry,) = json.loads(file.tags()["xcoreg"])
    assert (entry["target"], entry["reference"], entry["date"]) == ("tgt.tif", "ref.tif", DATE)
    assert entry["by"].startswith("xcoreg ")
    assert entry["fit"] == xcoreg.load_fit("fit.json").id
    corrected = xcoreg.open_raster("out.tif")
    with pytest.warns(CoregWarning, match="carries this correction already"):
        corrected.coreg.apply(xcoreg.load_fit("fit.json"))


def test_a_copy_keeps_pixels_tags_and_layout(files):
    with rasterio.open("tgt.tif", "r+") as file:
        file.update_tags(MISSION="S9", xcoreg="not ours")
    xcoreg.write_raster(xcoreg.open_raster("tgt.tif"), "cog.tif", driver="COG")
    for name in ("tgt.tif", "cog.tif"):
        assert run("shift", "ref.tif", name, "out.tif", "--overwrite").exit_code == 0
        with rasterio.open(name) as old, rasterio.open("out.tif") as new:
            np.testing.assert_array_equal(old.read(), new.read())
            assert new.tags(ns="IMAGE_STRUCTURE") == old.tags(ns="IMAGE_STRUCTURE")
            assert new.profile | {"transform": None} == old.profile | {"transform": None}
            tags = new.tags()
        assert (tags["MISSION"], json.loads(tags["xcoreg"])[0]["target"]) == ("S9", name)


def test_outputs_repeat(files):
    for name in ("one.tif", "two.tif"):
        assert run("shift", "ref.tif", "tgt.tif", name).exit_code == 0
    assert (files / "one.tif").read_bytes() == (files / "two.tif").read_bytes()


def test_the_command_line_refuses_warns_and_is_forced(files, scene):
    run("shift", "ref.tif", "tgt.tif", "out.tif", "--save-fit", "fit.json")
    xcoreg.write_raster(elsewhere(scene.tgt, 2), "far.tif")
    refused = run("apply", "fit.json", "far.tif", "a.tif")
    assert (refused.exit_code, (files / "a.tif").exists()) == (2, False)
    assert "--force" in refused.stderr
    assert "carries this correction already (of tgt.tif)" in run("apply", "fit.json", "out.tif", "b.tif").stderr
    for image in ("far.tif", "out.tif"):
        done = run("apply", "fit.json", image, "c.tif", "--force", "--overwrite")
        assert (done.exit_code, "Warning" in done.stderr) == (0, False)


def test_the_report_names_the_images(files):
    pytest.importorskip("matplotlib")
    assert run("match", "ref.tif", "tgt.tif", "--report", "report.html").exit_code == 0
    text = (files / "report.html").read_text()
    assert "tgt.tif onto ref.tif" in text
    assert DATE in text


def test_an_unknown_option_is_still_one(scene, fit):
    with pytest.raises(OptionError, match="did you mean 'force'"):
        scene.tgt.coreg.apply(fit, forced=True)
