"""The same numbers whatever the image is wrapped in, and no more read than needed."""

import dask
import dask.array
import numpy as np
import pytest
import rioxarray
import shapely
import xarray as xr

from xcoreg.coregister import match
from xcoreg.errors import OptionError
from xcoreg.simulate import Acquisition, pair

UTM = "EPSG:32633"
ONE_PLACE = {"at": (303000.0, 5897000.0), "window": 128}


@pytest.fixture(scope="module")
def fit(wide):
    return match(wide.tgt, wide.ref, **ONE_PLACE)


@pytest.fixture(scope="module")
def files(wide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, image in (("tgt", wide.tgt), ("ref", wide.ref)):
        image.rio.to_raster(folder / f"{name}.tif", tiled=True, blockxsize=128, blockysize=128)
    return folder


def same(fit, other):
    """Bitwise."""
    assert other.shift == fit.shift
    assert np.array_equal(other.points.dx, fit.points.dx, equal_nan=True)
    assert np.array_equal(other.points.cov, fit.points.cov, equal_nan=True)


# --- containers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda da: da.to_dataset(name="red"), id="Dataset"),
        pytest.param(lambda da: da.expand_dims(band=[1]), id="band, y, x"),
        pytest.param(
            lambda da: da.expand_dims(band=[1]).expand_dims(time=[np.datetime64("2024-05-01")]), id="time, band"
        ),
        pytest.param(lambda da: da.rename(x="lon", y="lat"), id="lat, lon"),
        pytest.param(lambda da: da.rename(x="longitude", y="latitude"), id="latitude, longitude"),
        pytest.param(lambda da: da.rename(x="u", y="v").rio.set_spatial_dims(x_dim="u", y_dim="v"), id="v, u"),
        pytest.param(lambda da: da.transpose("x", "y"), id="x, y"),
        pytest.param(lambda da: da.astype("int32"), id="int32"),
        pytest.param(lambda da: da.astype("float64"), id="float64"),
    ],
)
def test_any_container(fit, wide, wrap):
    same(fit, match(wrap(wide.tgt), wrap(wide.ref), **ONE_PLACE))


def test_masked_floats(fit, wide):
    tgt = wide.tgt.where(wide.tgt > 0).astype("float32").rio.write_nodata(np.nan)
    same(fit, match(tgt, wide.ref, **ONE_PLACE))


def test_odc_geo_arrays(fit, wide):
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    grid = GeoBox(wide.tgt.shape, wide.tgt.rio.transform(), UTM)
    tgt, ref = (wrap_xr(image.values, grid, nodata=0) for image in (wide.tgt, wide.ref))
    same(fit, match(tgt, ref, **ONE_PLACE))


@pytest.mark.parametrize("band", [2, "nir"])
def test_bands_are_chosen(fit, wide, band):
    label = "nir" if band == "nir" else 2
    other = wide.tgt.copy(data=np.full(wide.tgt.shape, 500, np.uint16))
    both = xr.concat([other, wide.tgt], "band").assign_coords(band=["red" if label == "nir" else 1, label])
    same(fit, match(both, wide.ref, band=band, **ONE_PLACE))


def test_a_variable_is_chosen(fit, wide):
    data = wide.tgt.to_dataset(name="nir").assign(red=wide.tgt * 0)
    same(fit, match(data, wide.ref, band="nir", **ONE_PLACE))


def test_several_dates_are_a_question(wide):
    dates = xr.concat([wide.tgt, wide.tgt], "time")
    with pytest.raises(OptionError, match=r"several values along time.*da\.isel\(time=0\)|band|time"):
        match(dates, wide.ref, band="nir")


@pytest.mark.parametrize(("convert", "cure"), [(lambda da: da > 2000, "astype"), (lambda da: da * 1j, "abs")])
def test_what_is_no_number_is_refused_with_the_cure(wide, convert, cure):
    with pytest.raises(OptionError, match=cure):
        match(convert(wide.tgt), wide.ref)


@pytest.mark.parametrize("nodata", [np.nan, -np.inf, -9999.0])
def test_any_nodata_may_be_given(nodata):
    both = pair((240, 240), shift=(0.7, -1.2), seed=1, tgt=Acquisition(wedge=0.25))
    tgt = both.tgt.astype("float32").where(both.tgt > 0, nodata)
    del tgt.attrs["_FillValue"]
    fit = match(tgt, both.ref, nodata=nodata)
    assert fit.shift.dcol == pytest.approx(0.7, abs=0.01)
    assert fit.shift.drow == pytest.approx(-1.2, abs=0.01)


def test_holes_do_not_sink_a_window(plain):
    values = plain.tgt.values.astype("float32")
    values[100:105, 100:105] = np.nan
    values[120:200, 60:140] = np.nan
    fit = match(plain.tgt.copy(data=values), plain.ref)
    assert fit.shift.dcol == pytest.approx(0.7, abs=0.01)
    assert fit.shift.drow == pytest.approx(-1.2, abs=0.01)


# --- laziness --------------------------------------------------------------------------------------------------------


def test_chunks_change_nothing(wide):
    plain = match(wide.tgt, wide.ref, window=128)
    for chunk in (97, 256):
        same(plain, match(wide.tgt.chunk(x=chunk, y=chunk), wide.ref.chunk(x=chunk, y=300), window=128))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_schedulers_change_nothing(fit, wide, scheduler):
    with dask.config.set(scheduler=scheduler):
        same(fit, match(wide.tgt.chunk(x=128, y=128), wide.ref, **ONE_PLACE))


def test_files_are_read_lazily(fit, files):
    tgt, ref = (rioxarray.open_rasterio(files / f"{name}.tif") for name in ("tgt", "ref"))
    same(fit, match(tgt, ref, **ONE_PLACE))
    assert not tgt.variable._in_memory


def test_one_place_takes_a_handful_of_computations(wide):
    asked = []

    def count(graph, keys, **options):
        asked.append(len(keys))
        return dask.get(graph, keys, **options)

    tgt, ref = (image.chunk(x=100, y=100) for image in (wide.tgt, wide.ref))
    with dask.config.set(scheduler=count):
        found = match(tgt, ref, **ONE_PLACE)
    assert found.ok
    # An overview of each image, a cut of each, the reference cut again at the answer; quarters of both, both again,
    # and both where a scene might repeat itself.
    assert len(asked) <= 11


def test_windows_are_all_that_is_read_of_a_large_file(files, monkeypatch):
    from xcoreg.raster.raster import read_boxes

    boxes = []
    monkeypatch.setattr(
        "xcoreg.raster.raster.read_boxes", lambda *args: boxes.extend(args[3]) or read_boxes(*args)
    )  # fmt: skip
    tgt, ref = (rioxarray.open_rasterio(files / f"{name}.tif") for name in ("tgt", "ref"))
    match(tgt, ref, at=(303000.0, 5897000.0), window=96)
    # Whether the scene repeats itself is seen in windows of 128 px.
    large = [box for box in boxes if (box[1] - box[0]) * (box[3] - box[2]) > 128 * 128]
    assert large == []


# --- masks and footprints --------------------------------------------------------------------------------------------


def masks(cloud):
    geopandas = pytest.importorskip("geopandas")
    clear = ~cloud
    half = shapely.box(300000, 5894040, 303500, 5900040)
    return {
        "bool raster": clear,
        "coarser raster": clear.astype("uint8").coarsen(x=4, y=4).min().rio.write_crs(UTM),
        "raster in another CRS": clear.astype("uint8").rio.write_crs(UTM).rio.reproject("EPSG:3035"),
        "polygon": half,
        "frame in another CRS": geopandas.GeoDataFrame(geometry=[half], crs=UTM).to_crs(4326),
        "function": lambda x, y: x < 303500,
    }


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize(
    "kind", ["bool raster", "coarser raster", "raster in another CRS", "polygon", "frame in another CRS", "function"]
)
def test_every_kind_of_mask(wide, kind):
    fit = match(wide.tgt, wide.ref, where=masks(wide.tgt_cloud)[kind], window=128)
    assert abs(fit.shift.dcol - 3.3) < 5 * fit.shift.sigma_px[0] + 0.005
    assert abs(fit.shift.drow - 2.6) < 5 * fit.shift.sigma_px[1] + 0.005


def test_masked_places_get_no_window(wide):
    fit = match(wide.tgt, wide.ref, where=lambda x, y: x < 303000, window=96)
    assert (fit.points.x[fit.points.ok] < 303000 + 480).all()


def test_masked_pixels_carry_no_weight(plain):
    spoiled = plain.tgt.copy()
    spoiled[60:180, 80:160] = spoiled[60:180, 80:160].values[::-1, ::-1]
    hole = shapely.box(300800, 5898240, 301600, 5899440)
    everywhere = shapely.box(*plain.tgt.rio.bounds())
    fit = match(spoiled, plain.ref, where=everywhere.difference(hole))
    assert fit.shift.dcol == pytest.approx(0.7, abs=0.01)
    assert fit.shift.drow == pytest.approx(-1.2, abs=0.01)


def test_a_mask_of_the_reference(plain):
    fit = match(plain.tgt, plain.ref, ref_where=lambda x, y: y > 5898800)
    assert fit.shift.dcol == pytest.approx(0.7, abs=0.01)


def test_windows_stay_inside_a_footprint_that_is_given(wide):
    fit = match(wide.tgt, wide.ref, footprint=shapely.box(300000, 5894040, 303000, 5900040), window=128)
    assert fit.points.x.max() < 303000
    assert abs(fit.shift.dcol - 3.3) < 5 * fit.shift.sigma_px[0] + 0.005
