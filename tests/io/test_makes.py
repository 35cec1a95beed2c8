"""Images as rioxarray, xarray and odc-stac make them: chunked or not, decoded or not, cut, squeezed and turned."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr

import xcoreg

DATE = np.array(["2024-01-01"], "datetime64[ns]")
SIZE = 400
pytestmark = [
    pytest.mark.filterwarnings("ignore:Supplying chunks as dimension-order tuples"),
    pytest.mark.filterwarnings("ignore:.* has no nodata value, but pixels without data appear"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Target and reference of two bands, scaled, with a nodata value."""
    folder = tmp_path_factory.mktemp("makes")
    both = xcoreg.simulate.pair((SIZE, SIZE), shift=(2.4, -1.3), seed=1)
    profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": 2, "dtype": "uint16", "nodata": 0}
    profile |= {"crs": "EPSG:32633", "transform": both.tgt.rio.transform(), "tiled": True}
    for name, image in (("tgt", both.tgt), ("ref", both.ref)):
        with rasterio.open(folder / f"{name}.tif", "w", **profile, blockxsize=128, blockysize=128) as file:
            file.write(np.stack([image.values, image.values + 3]))
            file.scales, file.offsets = (1e-4,) * 2, (-0.1,) * 2
    return folder / "tgt.tif", folder / "ref.tif"


def rio(path, **options):
    return rioxarray.open_rasterio(path, **options)


def engine(path, **options):
    return xr.open_dataset(path, engine="rasterio", **options)


def odc(path):
    bands = rio(path, chunks={"x": 128, "y": 128}).to_dataset(dim="band")
    return bands.rename({1: "red", 2: "nir"}).expand_dims(time=DATE)


MAKES = {
    "plain": rio,
    "uncached": lambda path: rio(path, cache=False),
    "chunks": lambda path: rio(path, chunks=True),
    "chunks of the file": lambda path: rio(path, chunks={}),
    "without lock": lambda path: rio(path, chunks=True, lock=False),
    "masked": lambda path: rio(path, masked=True),
    "masked chunks": lambda path: rio(path, masked=True, chunks=True),
    "scaled": lambda path: rio(path, mask_and_scale=True),
    "scaled chunks": lambda path: rio(path, mask_and_scale=True, chunks=True),
    "one band": lambda path: rio(path).isel(band=0),
    "squeezed": lambda path: rio(path).isel(band=[0]).squeeze(),
    "squeezed and dropped": lambda path: rio(path).isel(band=[1]).squeeze(drop=True),
    "masked and squeezed": lambda path: rio(path, masked=True)[:1].squeeze(),
    "by label": lambda path: rio(path).sel(band=2),
    "engine": engine,
    "engine, undecoded": lambda path: engine(path, mask_and_scale=False),
    "engine, chunks": lambda path: engine(path, chunks={}),
    "engine, array": lambda path: xr.open_dataarray(path, engine="rasterio").squeeze(),
    "bands as variables": lambda path: rio(path, band_as_variable=True),
    "loaded": lambda path: rio(path).load(),
    "cut": lambda path: rio(path)[:, 30:370, 20:390],
    "clipped": lambda path: rio(path).rio.clip_box(300200, 5896500, 303800, 5899800),
    "without coordinates": lambda path: rio(path, parse_coordinates=False),
    "columns first": lambda path: rio(path).transpose("x", "y", "band"),
    "float": lambda path: rio(path, chunks=True).astype("float32"),
    "one date": lambda path: rio(path).expand_dims(time=DATE),
    "odc-stac": odc,
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_every_make_is_matched_moved_and_resampled(files, tmp_path, make):
    target, reference = map(make, files)
    fit = target.coreg.match(reference)
    assert (fit.shift.dx, fit.shift.dy) == (pytest.approx(24, abs=0.1), pytest.approx(13, abs=0.1))
    moved, onto = target.coreg.apply(fit), target.coreg.apply(fit, like=reference)
    assert (moved.coreg.grid.affine.c - target.coreg.grid.affine.c) == pytest.approx(fit.shift.dx)
    with rasterio.open(xcoreg.write_raster(moved, tmp_path / "moved.tif")) as file:
        assert file.transform.c == pytest.approx(target.coreg.grid.affine.c + fit.shift.dx)
    again = xcoreg.open_raster(xcoreg.write_raster(onto, tmp_path / "onto.tif"))
    left = again.coreg.match(reference, nodata=0).shift
    assert abs(left.dcol) < 0.02
    assert abs(left.drow) < 0.02


@pytest.mark.parametrize("make", ["plain", "masked", "squeezed", "masked and squeezed", "engine", "one band"])
def test_what_is_in_a_file_stays_there(files, make):
    target, reference = map(MAKES[make], files)
    target.coreg.match(reference)
    arrays = [target] if isinstance(target, xr.DataArray) else list(target.data_vars.values())
    assert not any(one.variable._in_memory for one in arrays)
