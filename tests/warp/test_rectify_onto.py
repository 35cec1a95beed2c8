"""Images with control points or RPCs alone as targets: matched, moved, warped, through the accessor."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import GCPs, attach_gcps, transform_points
from xcoreg.raster.grid import georeferenced_by, grid_of
from xcoreg.simulate import pair, smooth_field

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SHIFT = (2.4, -1.3)
INNER = (slice(24, -24), slice(24, -24))


@pytest.fixture(scope="module")
def scene():
    return pair((320, 320), shift=SHIFT, snr_db=35.0, seed=5)


def without_transform(image, folder):
    """The image as a file that knows its place by control points of longitude and latitude alone."""
    plain = xcoreg.write_raster(image, folder / "plain.tif")
    grid = grid_of(image)
    at = np.stack(np.meshgrid(*[np.linspace(0.0, 319.0, 6)] * 2), axis=-1).reshape(-1, 2).T
    lonlat = transform_points(grid.crs, 4326, *(grid.affine @ (at + 0.5)))
    return xcoreg.open_raster(attach_gcps(plain, GCPs(*at, *lonlat, crs=4326), folder / "gcps.tif"), band=1)


@pytest.fixture(scope="module")
def bare(scene, tmp_path_factory):
    return without_transform(scene.tgt, tmp_path_factory.mktemp("bare"))


def test_the_accessor_gives_the_control_points(bare, scene):
    assert len(bare.coreg.gcps) == 36
    assert scene.tgt.coreg.gcps is None


def test_shift_to_rectifies_and_matches(bare, scene):
    fixed = bare.coreg.shift_to(scene.ref, like=scene.ref)
    truth = scene.tgt.coreg.shift_to(scene.ref, like=scene.ref)
    np.testing.assert_allclose(fixed.values[INNER], truth.values[INNER], atol=8)  # of about 1000 of contrast
    assert fixed.coreg.match(scene.ref).shift.length < 0.5  # m, of 27 before


def test_without_a_grid_the_crs_of_the_reference_is_taken(bare, scene):
    fixed = bare.coreg.shift_to(scene.ref)
    assert grid_of(fixed).crs == grid_of(scene.ref).crs
    assert grid_of(fixed).affine.a == pytest.approx(10, abs=0.01)
    fixed = bare.coreg.shift_to(scene.ref, resolution=20)
    affine, ref = grid_of(fixed).affine, grid_of(scene.ref).affine
    assert (affine.a, (affine.c - ref.c) / 20 % 1) == (20, 0)


def test_a_fit_is_applied_to_another_band(bare, scene):
    fit = bare.coreg.rectify(crs=scene.ref.rio.crs).coreg.match(scene.ref)
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((10 * SHIFT[0], -10 * SHIFT[1]), abs=0.5)
    mask = (bare > float(bare.mean())).astype(np.uint8)
    fixed = mask.coreg.apply(fit, like=scene.ref, resampling="nearest", nodata=255)
    apply = {"like": scene.ref, "resampling": "nearest", "nodata": 255}
    truth = (scene.tgt > float(bare.mean())).astype(np.uint8).coreg.apply(fit, **apply)
    assert np.mean(fixed.values[INNER] != truth.values[INNER]) < 0.01


def test_warp_to_follows_a_field(tmp_path):
    scene = pair((320, 320), shift=smooth_field((320, 320), 2.0, seed=4), snr_db=35.0, seed=5)
    bare = without_transform(scene.tgt, tmp_path)
    options = {"spacing": 32, "window": 64, "like": scene.ref}
    fixed, truth = (image.coreg.warp_to(scene.ref, **options) for image in (bare, scene.tgt))
    before = bare.coreg.rectify(like=scene.ref).values[INNER].astype(float)
    miss, was = (np.std(image.astype(float) - truth.values[INNER]) for image in (fixed.values[INNER], before))
    assert miss < 0.1 * was


def test_dask_stays_lazy(bare, scene, tmp_path):
    lazy = bare.chunk(x=100, y=100)
    fit = bare.coreg.rectify(crs=scene.ref.rio.crs).coreg.match(scene.ref)
    one, two = (lazy.coreg.apply(fit, like=scene.ref) for _ in range(2))
    assert one.chunks is not None
    assert one.data.name == two.data.name
    np.testing.assert_array_equal(one, bare.coreg.apply(fit, like=scene.ref))


def test_locate_and_place(bare, scene):
    lon, lat = bare.coreg.place([10.0, 200.0], [20.0, 100.0])
    found = bare.coreg.locate((lon, lat))
    np.testing.assert_allclose(found.col, [10, 200], atol=1e-5)
    np.testing.assert_allclose(found.row, [20, 100], atol=1e-5)
    truth = scene.tgt.coreg.locate((lon, lat))
    np.testing.assert_allclose(found.col, truth.col, atol=5e-3)
    np.testing.assert_array_equal(found.value, truth.value)


def test_what_needs_a_transform_names_the_cure(bare, scene):
    with pytest.raises(NotGeoreferenced, match=r"ground control points: rectify it first, da\.coreg\.rectify\(crs="):
        bare.coreg.overlap(scene.ref)


def test_rpcs_name_the_cure(data_dir):
    image = xcoreg.open_raster(data_dir / "formats" / "RGB.byte.rpc.vrt")
    assert georeferenced_by(image) == "RPCs"
    with pytest.raises(NotGeoreferenced, match=r"only RPCs: rectify it first"):
        image.coreg.grid  # noqa: B018


def test_one_output_grid(bare, scene):
    fit = scene.tgt.coreg.match(scene.ref)
    with pytest.raises(OptionError, match="each choose the output grid"):
        bare.coreg.apply(fit, like=scene.ref, align_grid=True)


def test_options_of_the_matching_are_checked(bare, scene):
    with pytest.raises(OptionError, match="windwo"):
        bare.coreg.shift_to(scene.ref, windwo=64)


def test_the_history_records_the_correction(bare, scene):
    fixed = bare.coreg.shift_to(scene.ref)
    assert '"correction": "translation"' in fixed.attrs["xcoreg"]
    assert '"dx": 2' in fixed.attrs["xcoreg"]


def test_heights_are_not_corrected_in_silence(bare, scene):
    fit = scene.tgt.coreg.match(scene.ref)
    with pytest.raises(OptionError, match="images that have a transform"):
        bare.coreg.apply(fit, vertical=True)
