"""What is missing stays missing, in every format that can hold it, by rasterio's own view."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio.enums import ColorInterp, MaskFlags
from xarray import DataArray, Dataset

import xcoreg
from xcoreg.coregister import correct_file
from xcoreg.errors import CoregWarning
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.raster.raster import make_raster
from xcoreg.simulate import pair

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SIDE = 200
VALID = np.ones((SIDE, SIDE), bool)
VALID[60:100, 30:90] = False
VALID[:30, :50] = False
FORMATS = {"tif": {}, "cog": {"driver": "COG"}, "bsq": {}, "jp2": {}, "png": {}, "nc": {}, "zarr": {}}
SUFFIX = {"cog": "tif"}
SOURCES = ("internal", "external", "grey and alpha", "colours and alpha", "nodata", "nodata and mask")


def create(path, source, transform):
    """A file of bytes whose pixels under the mask are noise."""
    rng = np.random.default_rng(3)
    count = {"grey and alpha": 2, "colours and alpha": 4}.get(source, 1)
    pixels = rng.integers(1, 250, (count, SIDE, SIDE)).astype("uint8")
    pixels[..., ~VALID] = 0 if source.startswith("nodata") else 251
    if "alpha" in source:
        pixels[-1] = VALID * np.uint8(255)
    options = {"nodata": 0} if source.startswith("nodata") else {}
    grid = {"crs": "EPSG:32633", "transform": transform, "width": SIDE, "height": SIDE, "count": count}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=source != "external"),
        rasterio.open(path, "w", driver="GTiff", dtype="uint8", **grid, **options) as file,
    ):
        if "alpha" in source:
            file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
        file.write(pixels)
        if source in ("internal", "external", "nodata and mask"):
            file.write_mask(VALID)
    return path


@pytest.fixture(scope="module")
def both():
    return pair((SIDE, SIDE), shift=(1.3, -0.6), seed=1)


@pytest.fixture(scope="module")
def fit(both):
    return both.tgt.coreg.match(both.ref, window=96)


@pytest.fixture(scope="module", params=SOURCES)
def source(request, both, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return create(folder / "a.tif", request.param, both.tgt.rio.transform()), request.param


def valid_of(image):
    """Where the first band of an image has data."""
    raster = make_raster(image, search=False)
    return raster.read(0, raster.shape[0], 0, raster.shape[1])[1]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("chunks", [None, {"x": 128, "y": 128}])
@pytest.mark.parametrize("like", [False, True], ids=["moved", "resampled"])
def test_what_is_missing_survives(source, both, fit, tmp_path, like, chunks, kind):
    path, what = source
    options = {"like": both.ref} if like else {}
    image = open_raster(path, chunks=chunks)
    fixed = image.coreg.apply(fit, **options)
    wanted = valid_of(fixed)
    if not like:
        np.testing.assert_array_equal(wanted, VALID)
    written = write_raster(fixed, tmp_path / f"out.{SUFFIX.get(kind, kind)}", **FORMATS[kind])
    np.testing.assert_array_equal(valid_of(open_raster(written)), wanted)
    if kind in ("nc", "zarr"):
        return
    with rasterio.open(written) as file:
        np.testing.assert_array_equal(file.read_masks(1) > 0, wanted)
        flags = file.mask_flag_enums[0]
        assert (MaskFlags.alpha in flags) == (
            ("alpha" in what and kind != "bsq") or (kind == "png" and what != "nodata")
        )
        assert (MaskFlags.nodata in flags) == (what == "nodata")
        assert file.count == image.sizes["band"] + (
            kind == "png" and what in ("internal", "external", "nodata and mask")
        )


@pytest.mark.parametrize("like", [False, True], ids=["moved", "resampled"])
def test_lazy_images_give_the_same_bytes(source, both, fit, like):
    options = {"like": both.ref} if like else {}
    plain, lazy = (open_raster(source[0], chunks=chunks).coreg.apply(fit, **options) for chunks in (None, {"x": 70}))
    np.testing.assert_array_equal(plain, lazy)
    for name in {"valid_mask"} & set(plain.coords):
        np.testing.assert_array_equal(plain[name], lazy[name])


def test_no_masked_pixel_leaks_into_its_neighbours(source, both, fit):
    fixed = open_raster(source[0]).coreg.apply(fit, like=both.ref, resampling="bilinear")[0]
    assert int(fixed.values[valid_of(fixed)].max()) <= 250  # 251 stands under the masks


@pytest.mark.parametrize("like", [False, True], ids=["copied", "resampled"])
def test_files_are_corrected_with_their_masks(source, both, fit, tmp_path, like):
    path, _ = source
    options = {"like": both.ref} if like else {}
    done = correct_file(str(path), fit, tmp_path / "out.tif", **options)
    with rasterio.open(path) as before, rasterio.open(done) as after:
        assert before.mask_flag_enums == after.mask_flag_enums
        assert before.colorinterp == after.colorinterp
        if not like:
            np.testing.assert_array_equal(before.read_masks(1), after.read_masks(1))
            np.testing.assert_array_equal(before.read(), after.read())


def test_overviews_of_a_side_car_mask_are_copied(both, fit, tmp_path):
    path = create(tmp_path / "a.tif", "external", both.tgt.rio.transform())
    (tmp_path / "a.tif.msk.ovr").write_bytes(b"overviews")
    done = correct_file(str(path), fit, tmp_path / "out.tif")
    assert done.with_name("out.tif.msk.ovr").read_bytes() == b"overviews"


def test_an_output_without_a_mask_does_not_keep_that_of_an_older_one(both, tmp_path):
    path = create(tmp_path / "a.tif", "external", both.tgt.rio.transform())
    write_raster(both.ref, path)
    with rasterio.open(path) as file:
        assert file.mask_flag_enums[0] == [MaskFlags.nodata]


def test_the_fourth_band_of_bytes_is_data_unless_it_is_called_alpha(tmp_path):
    image = DataArray(np.full((4, 60, 50), 9, "uint8"), dims=("band", "y", "x")).rio.write_crs(32633)
    image = image.assign_coords(x=np.arange(50.0), y=-np.arange(60.0))
    for name, options in (("a.tif", {}), ("c.tif", {"driver": "COG"})):
        with rasterio.open(write_raster(image, tmp_path / name, **options)) as file:
            assert ColorInterp.alpha not in file.colorinterp
            assert file.mask_flag_enums[0] == [MaskFlags.all_valid]


# --- bands with nodata values of their own ----------------------------------------------------------------------------


def two_bands(both, kind=DataArray):
    """Bands of uint16 whose missing pixels are 0 in the first, 65535 in the second, which has zeros that are data."""
    values = np.stack([both.tgt.values, both.tgt.values])
    values[0, 40:60, 50:90], values[1, 40:60, 50:90], values[1, 120:140, 50:90] = 0, 65535, 0
    if kind is DataArray:
        image = both.tgt.expand_dims(band=[1, 2]).copy(data=values)
        image.attrs = {"nodatavals": (0, 65535)}
        return image
    first, second = (both.tgt.copy(data=each) for each in values)
    first.attrs, second.attrs = {"_FillValue": np.uint16(0)}, {"_FillValue": np.uint16(65535)}
    return Dataset({"first": first, "second": second})


@pytest.mark.parametrize("kind", [DataArray, Dataset])
@pytest.mark.parametrize("band", [1, 2])
def test_each_band_has_its_own_nodata_value(both, kind, band):
    image = two_bands(both, kind)
    valid = make_raster(image, band=band).read(0, SIDE, 0, SIDE)[1]
    assert not valid[40:60, 50:90].any()
    assert valid.sum() == SIDE * SIDE - 20 * 40
    fit = image.coreg.match(both.ref, band=band, window=96)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((1.3, -0.6), abs=0.03)


@pytest.mark.parametrize("kind", [DataArray, Dataset])
@pytest.mark.parametrize("chunks", [None, 90])
def test_a_geotiff_gets_one_nodata_value_and_says_so(both, fit, tmp_path, kind, chunks):
    image = two_bands(both, kind)
    image = image if chunks is None else image.chunk({"x": chunks, "y": chunks})
    for options in ({}, {"like": both.ref}, {"like": both.ref, "resampling": "nearest"}):
        fixed = image.coreg.apply(fit, **options)
        with pytest.warns(CoregWarning, match=r"different nodata values \(0, 65535\).*missing pixels of all bands get"):
            path = write_raster(fixed, tmp_path / "out.tif")
        with rasterio.open(path) as file:
            (marker, again), pixels, masks = file.nodatavals, file.read(), file.read_masks() > 0
        assert marker == again
        assert not (pixels[~masks] != marker).any()
        inner = masks[:, 3:-3, 3:-3]
        assert not inner[:, 40:53, 50:83].any()
        assert (~inner).sum() == pytest.approx(2 * 20 * 40, rel=0.03)
        if chunks is None:
            assert marker == 65535  # the only one that is no data in another band
            assert pixels[1][masks[1]].min() == 0


def test_netcdf_keeps_the_nodata_value_of_each_variable(both, tmp_path):
    image = two_bands(both, Dataset)
    path = write_raster(image, tmp_path / "out.nc")
    with xr.open_dataset(path, mask_and_scale=False) as file:
        assert [int(file[name].attrs["_FillValue"]) for name in ("first", "second")] == [0, 65535]
    back = open_raster(path)
    assert make_raster(back, band="second").nodata == 65535


def test_floating_bands_get_nan(both, fit, tmp_path):
    image = two_bands(both).astype("float32")
    image.attrs["nodatavals"] = (0.0, -9999.0)
    image[1, 40:60, 50:90] = -9999.0
    with pytest.warns(CoregWarning, match="all bands get nan"):
        path = write_raster(image.coreg.apply(fit), tmp_path / "out.tif")
    with rasterio.open(path) as file:
        assert np.isnan(file.nodatavals).all()
        assert (~(file.read_masks() > 0)).sum(axis=(1, 2)).tolist() == [800, 800]


def test_a_vrt_of_bands_with_their_own_markers(both, tmp_path):
    for band, marker in ((1, 0), (2, 65535)):
        write_raster(
            two_bands(both)[band - 1].drop_attrs().rio.write_nodata(np.uint16(marker)), tmp_path / f"n{band}.tif"
        )
    part = (
        '<VRTRasterBand dataType="UInt16" band="{n}"><NoDataValue>{m}</NoDataValue><SimpleSource>'
        '<SourceFilename relativeToVRT="1">n{n}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
    )
    where = ", ".join(map(str, both.tgt.rio.transform().to_gdal()))
    place = f"<SRS>EPSG:32633</SRS><GeoTransform>{where}</GeoTransform>"
    bands = part.format(n=1, m=0) + part.format(n=2, m=65535)
    (tmp_path / "n.vrt").write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">{place}{bands}</VRTDataset>'
    )
    image = open_raster(tmp_path / "n.vrt")
    assert image.attrs["nodatavals"] == (0, 65535)
    assert [open_raster(tmp_path / "n.vrt", band=band).rio.nodata for band in (1, 2)] == [0, 65535]
    assert [make_raster(image, band=band).nodata for band in (1, 2)] == [0, 65535]
    assert open_raster(tmp_path / "n.vrt", nodata=7).rio.nodata == 7
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        fit = image.coreg.match(both.ref, band=2, window=96)
        done = correct_file(str(tmp_path / "n.vrt"), fit, tmp_path / "out.tif", like=both.ref)
    with rasterio.open(done) as file:
        pixels, valid = file.read(2), file.read_masks(2) > 0
    assert pixels[valid].max() <= both.tgt.values.max() + 100


@pytest.mark.parametrize("like", [False, True], ids=["moved", "resampled"])
@pytest.mark.parametrize("kind", ["tif", "cog", "png", "jp2", "nc"])
def test_nan_of_an_image_that_was_masked_on_opening_stays_missing(both, fit, tmp_path, like, kind):
    path = create(tmp_path / "a.tif", "internal", both.tgt.rio.transform())
    fixed = rioxarray.open_rasterio(path, masked=True).coreg.apply(fit, **({"like": both.ref} if like else {}))
    written = write_raster(fixed, tmp_path / f"out.{SUFFIX.get(kind, kind)}", **FORMATS[kind])
    np.testing.assert_array_equal(valid_of(open_raster(written)), fixed[0].notnull())


def test_a_variable_of_the_same_name_is_no_mask(both, tmp_path):
    other = both.tgt.copy(data=np.ones((SIDE, SIDE), "uint8"))
    Dataset({"red": both.tgt, "valid_mask": other}).to_netcdf(tmp_path / "a.nc")
    assert set(open_raster(tmp_path / "a.nc").data_vars) == {"red", "valid_mask"}


def test_the_demo_names_are_public():
    assert xcoreg.masks.scl.__doc__
