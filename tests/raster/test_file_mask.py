"""Masks of files: read lazily, window by window, at any level, and used wherever pixels are."""

from __future__ import annotations

import pickle
import warnings
from unittest import mock

import numpy as np
import pytest
import rasterio
import rioxarray
from affine import Affine
from rasterio.enums import ColorInterp

from xcoreg.errors import CoregWarning, GridError, OptionError
from xcoreg.io.read import open_raster
from xcoreg.raster.file_mask import FileMask
from xcoreg.raster.footprint import footprint
from xcoreg.raster.levels import file_behind
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import cache_box, make_raster

GRID = Affine(10, 0, 300000, 0, -10, 5900040)
ROWS, COLS = 600, 800
VALID = np.ones((ROWS, COLS), bool)
VALID[:, :300] = False
VALID[400:450, 500:600] = False


def write(path, count=1, *, mask=None, internal=True, alpha=None, overviews=(), **options):
    """A file of random bytes, with a mask or an alpha band."""
    pixels = np.random.default_rng(5).integers(1, 255, (count, ROWS, COLS)).astype("uint8")
    if alpha is not None:
        pixels[-1] = alpha * np.uint8(200)
    options |= {"alpha": "yes" if alpha is not None else "unspecified", "tiled": True, "blockxsize": 128}
    grid = {"crs": "EPSG:32633", "transform": GRID, "width": COLS, "height": ROWS, "count": count, "dtype": "uint8"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        with rasterio.open(path, "w", driver="GTiff", blockysize=128, **grid, **options) as file:
            if alpha is not None:
                file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
            file.write(pixels)
        if overviews == "before":
            build(path)
        if mask is not None:
            with rasterio.open(path, "r+") as file:
                file.write_mask(mask)
        if overviews == "after":
            build(path)
    return path


def build(path):
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8])


KINDS = {
    "internal": {"mask": VALID},
    "external": {"mask": VALID, "internal": False},
    "grey and alpha": {"count": 2, "alpha": VALID},
    "colours and alpha": {"count": 4, "alpha": VALID},
    "internal, overviews": {"mask": VALID, "overviews": "after"},
    "external, overviews": {"mask": VALID, "internal": False, "overviews": "after"},
    "overviews without a mask": {"mask": VALID, "overviews": "before"},
    "alpha, overviews": {"count": 4, "alpha": VALID, "overviews": "after"},
}


@pytest.fixture(scope="module", params=KINDS)
def masked(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("masked") / "a.tif", **KINDS[request.param])


@pytest.mark.parametrize("chunks", [None, "auto"])
def test_every_kind_becomes_a_lazy_coordinate(masked, chunks):
    image = open_raster(masked, chunks=chunks)
    assert (image.valid_mask.dims, image.valid_mask.dtype) == (("y", "x"), bool)
    assert not image.valid_mask.variable._in_memory
    np.testing.assert_array_equal(image.valid_mask.values, VALID)


def test_rasters_read_it_with_the_pixels(masked):
    raster = make_raster(open_raster(masked))
    boxes = [(0, 40, 280, 320), (390, 420, 490, 520), (-5, 5, 790, 810)]
    for (row0, row1, col0, col1), (values, valid) in zip(boxes, raster.read_many(boxes), strict=True):
        inside = VALID[max(row0, 0) : row1, col0 : min(col1, COLS)]
        np.testing.assert_array_equal(valid[max(-row0, 0) :, : inside.shape[1]], inside)
        assert not values[~valid].any()
    near = cache_box(raster, (0, 100, 250, 350))
    np.testing.assert_array_equal(near.read(0, 40, 280, 320)[1], raster.read(0, 40, 280, 320)[1])
    np.testing.assert_array_equal(raster.read_stack([(0, 40, 280, 320)])[1][0], VALID[:40, 280:320])


def test_only_the_windows_that_are_used_are_read(masked):
    raster, seen = make_raster(open_raster(masked)), []
    read = FileMask._read

    def noted(self, key):
        seen.append(tuple(part.stop - part.start for part in key))
        return read(self, key)

    with mock.patch.object(FileMask, "_read", noted):
        raster.read(0, 40, 280, 320)
    assert seen == [(40, 40)]


@pytest.mark.parametrize("size", [100, 512])
def test_overviews_know_it(masked, size):
    raster = make_raster(open_raster(masked))
    assert file_behind(raster, size).mask is not None
    taken = overview_of(raster, size)
    step = round(taken.grid.affine.a / 10)
    at = [np.minimum(np.arange(0, side, step) + step // 2, side - 1) for side in VALID.shape]
    assert (taken.valid != VALID[np.ix_(*at)]).mean() < 0.03  # cells at its edges


def test_the_footprint_leaves_it_out(masked):
    assert footprint(make_raster(open_raster(masked))).area == pytest.approx(100 * 500 * ROWS, rel=0.02)


def test_steps_turns_and_single_rows(masked):
    image = open_raster(masked)
    for part in ({"y": slice(None, None, -3), "x": slice(5, 700, 7)}, {"y": 410}, {"x": 500, "y": slice(0, 0)}):
        np.testing.assert_array_equal(
            image.isel(part).valid_mask, VALID[part.get("y", slice(None)), part.get("x", slice(None))]
        )


def test_it_can_be_pickled(masked):
    raster = pickle.loads(pickle.dumps(make_raster(open_raster(masked))))
    np.testing.assert_array_equal(raster.read(390, 460, 490, 520)[1], VALID[390:460, 490:520])


def test_computed_masks_are_read_as_well(masked):
    image = open_raster(masked, chunks={"y": 200, "x": 200})
    image = (image + 0).assign_coords(valid_mask=~(~image.valid_mask))
    raster = make_raster(image)
    assert len(raster.computed) == 2
    np.testing.assert_array_equal(raster.read(390, 460, 490, 520)[1], VALID[390:460, 490:520])
    assert (overview_of(raster).valid.mean()) == pytest.approx(VALID.mean(), abs=0.02)


def test_a_mask_of_the_user_is_used_not_that_of_the_file(masked):
    image = open_raster(masked)
    own = np.zeros((ROWS, COLS), bool)
    own[:, 600:] = True
    raster = make_raster(image.assign_coords(valid_mask=(("y", "x"), own)))
    assert file_behind(raster, 100) is None
    assert overview_of(raster).valid.mean() == pytest.approx(own.mean())


def test_alpha_bands_stay_bands_and_are_not_matched(tmp_path):
    image = open_raster(write(tmp_path / "a.tif", count=4, alpha=VALID))
    assert (image.sizes["band"], image.valid_mask.attrs["alpha_band"]) == (4, 4)
    assert make_raster(image, band=3).nodata_source == "none"
    with pytest.raises(OptionError, match=r"band 4 of target is an alpha band.*rio edit-info --colorinterp"):
        make_raster(image, band=4)
    with pytest.raises(OptionError, match="alpha band"):
        make_raster(image.isel(band=[3, 0]))
    for alone in (image[3], image[3:], open_raster(tmp_path / "a.tif", band=4)):
        with pytest.raises(OptionError, match="band 4 of target is an alpha band"):
            make_raster(alone)
    assert make_raster(image.drop_vars("valid_mask"), band=4, nodata=-1).mask is None


def test_the_fourth_band_of_a_file_that_does_not_call_it_alpha_is_data(tmp_path):
    assert "valid_mask" not in open_raster(write(tmp_path / "a.tif", count=4)).coords


def test_nodata_alone_is_no_mask(tmp_path):
    assert "valid_mask" not in open_raster(write(tmp_path / "a.tif", nodata=0)).coords


def test_nodata_and_mask_both_count(tmp_path):
    path = write(tmp_path / "a.tif", mask=VALID, nodata=7)
    raster = make_raster(open_raster(path))
    raw = raster.read_raw([(0, ROWS, 0, COLS)])[0]
    np.testing.assert_array_equal(raster.read(0, ROWS, 0, COLS)[1], VALID & (raw != 7))


def test_a_tuple_of_nodata_values_marks_pixels_that_have_all_of_them(tmp_path):
    path = write(tmp_path / "a.tif", count=3)
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[:, :50] = np.array([1, 2, 3])[:, None, None]
        file.write(pixels)
        file.update_tags(NODATA_VALUES="1 2 3")
    found = open_raster(path).valid_mask
    assert not found[:50].any()
    assert found[50:].mean() > 0.99


def test_bands_may_have_masks_of_their_own(tmp_path):
    write(tmp_path / "a.tif")
    write(tmp_path / "m.tif", count=2)
    with rasterio.open(tmp_path / "m.tif", "r+") as file:
        file.write(np.stack([VALID, VALID.T[:1].repeat(ROWS, 0)[:, :1].repeat(COLS, 1)]) * np.uint8(255))
    band = (
        '<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        '</SourceFilename><SourceBand>1</SourceBand></SimpleSource><MaskBand><VRTRasterBand dataType="Byte">'
        '<SimpleSource><SourceFilename relativeToVRT="1">m.tif</SourceFilename><SourceBand>{n}</SourceBand>'
        "</SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand>"
    )
    place = "<SRS>EPSG:32633</SRS><GeoTransform>300000,10,0,5900040,0,-10</GeoTransform>"
    bands = band.format(n=1) + band.format(n=2)
    text = f'<VRTDataset rasterXSize="{COLS}" rasterYSize="{ROWS}">{place}{bands}</VRTDataset>'
    (tmp_path / "a.vrt").write_text(text)
    image = open_raster(tmp_path / "a.vrt")
    assert image.valid_mask.dims == ("band", "y", "x")
    np.testing.assert_array_equal(image.valid_mask[0], VALID)
    np.testing.assert_array_equal(make_raster(image, band=1).read(0, ROWS, 0, COLS)[1], VALID)
    with pytest.raises(GridError, match="or masked"):
        footprint(make_raster(image, band=2))


def test_the_nodata_value_of_another_band_warns(tmp_path):
    write(tmp_path / "a.tif")
    part = '<VRTRasterBand dataType="Byte" band="{0}"><NoDataValue>{1}</NoDataValue></VRTRasterBand>'
    place = "<SRS>EPSG:32633</SRS><GeoTransform>300000,10,0,5900040,0,-10</GeoTransform>"
    text = f'<VRTDataset rasterXSize="50" rasterYSize="50">{place}{part.format(1, 0)}{part.format(2, 9)}</VRTDataset>'
    (tmp_path / "a.vrt").write_text(text)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", CoregWarning)
        overview_of(make_raster(rioxarray.open_rasterio(tmp_path / "a.vrt"), band=2))
        overview_of(make_raster(open_raster(tmp_path / "a.vrt"), band=2))
    assert ["another nodata value for this band, 9" in str(one.message) for one in seen] == [True]


def test_an_image_that_does_not_carry_the_mask_of_its_file_warns(tmp_path):
    path = write(tmp_path / "a.tif", mask=VALID)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", CoregWarning)
        overview_of(make_raster(rioxarray.open_rasterio(path)))
    assert ["its file has a mask beside the pixels" in str(one.message) for one in seen] == [True]
    with warnings.catch_warnings():
        warnings.simplefilter("error", CoregWarning)
        overview_of(make_raster(open_raster(path)))
        overview_of(make_raster(rioxarray.open_rasterio(path, masked=True)))  # has NaN there
