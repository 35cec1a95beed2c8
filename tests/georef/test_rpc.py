"""RPCs in numpy: against GDAL, there and back, refitted, written and read."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import rasterio
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer

from xcoreg.errors import OptionError
from xcoreg.georef import RPCGround, RPCModel, read_rpcs, refit_rpcs, write_rpcs
from xcoreg.georef.rpc import shifted


def made_rpcs(seed=0, lon=11.0):
    """RPCs with every coefficient different from zero, as of a satellite that looks 30 degrees to the side."""
    rng = np.random.default_rng(seed)

    def coefs(*linear):
        values = rng.normal(0, 2e-4, 20)
        values[:4] = linear
        return tuple(values.tolist())

    return RPCModel(
        line_off=5000, samp_off=4000, lat_off=47.0, long_off=lon, height_off=900, line_scale=5001, samp_scale=4002,
        lat_scale=0.1, long_scale=0.12, height_scale=800,
        line_num_coeff=coefs(2e-3, -0.2, -1.1, 0.02), line_den_coeff=coefs(1.0, 1e-3, 1e-3, 1e-4),
        samp_num_coeff=coefs(1e-3, 1.15, -0.22, 0.11), samp_den_coeff=coefs(1.0, -1e-3, 2e-3, 1e-4),
    )  # fmt: skip


def places(rpcs, n=500, seed=1):
    at = np.random.default_rng(seed).uniform(-0.8, 0.8, (3, n))
    return (
        rpcs.long_off + rpcs.long_scale * at[0],
        rpcs.lat_off + rpcs.lat_scale * at[1],
        rpcs.height_off + rpcs.height_scale * at[2],
    )


@pytest.mark.parametrize("lon", [11.0, 179.98, -179.95])
def test_the_projection_is_that_of_gdal(lon):
    rpcs = made_rpcs(lon=lon)
    x, y, z = places(rpcs)
    col, row = rpcs.project(x, y, z)
    with RPCTransformer(RPC(**rpcs.to_dict())) as gdal:
        line, pixel = gdal.rowcol(x, y, zs=z, op=lambda value: value)
    np.testing.assert_allclose(col, np.array(pixel) - 0.5, atol=1e-6, rtol=0)
    np.testing.assert_allclose(row, np.array(line) - 0.5, atol=1e-6, rtol=0)
    assert np.ptp(col) > 4000


def test_longitudes_of_another_turn_are_the_same():
    rpcs = made_rpcs(lon=179.98)
    x, y, z = places(rpcs)
    np.testing.assert_allclose(rpcs.project(x - 360, y, z), rpcs.project(x, y, z), atol=1e-6)


def test_the_inverse_is_exact_and_does_not_depend_on_neighbours():
    rpcs = made_rpcs(3)
    x, y, z = places(rpcs)
    col, row = rpcs.project(x, y, z)
    lon, lat = rpcs.unproject(col, row, z)
    np.testing.assert_allclose(rpcs.project(lon, lat, z), (col, row), atol=1e-7, rtol=0)
    np.testing.assert_allclose((lon, lat), (x, y), atol=1e-12)
    alone = np.array([rpcs.unproject(*one) for one in zip(col[:20], row[:20], z[:20], strict=True)]).T
    np.testing.assert_array_equal(alone, (lon[:20], lat[:20]))


def test_what_is_unknown_has_no_place():
    rpcs = made_rpcs()
    assert np.isnan(rpcs.unproject([np.nan, 10.0], [10.0, np.inf], 900.0)).all()
    assert np.isnan(rpcs.project(np.nan, 47.0, 900.0)).all()
    assert np.isfinite(rpcs.unproject(10.0, 10.0, 900.0)).all()


@pytest.mark.parametrize("by_col", [0.0, 2e-4])
def test_refitted_rpcs_hold_a_correction(by_col):
    rpcs = made_rpcs(5)
    made = refit_rpcs(
        rpcs, lambda col, row, z: rpcs.unproject(col + 12.3 + by_col * col, row - 7.8 - by_col * row, z), (10000, 8000)
    )
    assert made.rms < made.largest < 1e-3
    x, y, z = places(rpcs, 200)
    col, row = made.rpcs.project(x, y, z)
    wanted = rpcs.project(x, y, z)
    inside = (col > 0) & (col < 8000) & (row > 0) & (row < 10000)
    assert inside.sum() > 50
    np.testing.assert_allclose((col + 12.3 + by_col * col)[inside], wanted[0][inside], atol=2e-3)
    np.testing.assert_allclose((row - 7.8 - by_col * row)[inside], wanted[1][inside], atol=2e-3)


def test_a_refit_that_is_poor_says_so():
    """A jitter is no rational function: the RMS names what is left of it."""
    rpcs = made_rpcs(5)
    made = refit_rpcs(rpcs, lambda col, row, z: rpcs.unproject(col + np.sin(row / 40), row, z), (10000, 8000))
    assert 0.3 < made.rms < made.largest < 5


def test_a_constant_correction_moves_the_offsets():
    rpcs = made_rpcs()
    x, y, z = places(rpcs)
    before, after = rpcs.project(x, y, z), shifted(rpcs, 3.25, -1.5).project(x, y, z)
    np.testing.assert_allclose(np.subtract(after, before), [[3.25] * 500, [-1.5] * 500], atol=1e-9)


@pytest.mark.parametrize("name", ["image_RPC.TXT", "image.RPB", "IMAGE.rpb", "image_rpc.txt"])
def test_files_hold_every_digit(tmp_path, name):
    rpcs = dataclasses.replace(made_rpcs(7), err_bias=0.5, err_rand=0.25)
    assert write_rpcs(tmp_path / name, rpcs) == tmp_path / name
    assert read_rpcs(tmp_path / name).rpcs == rpcs


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["image_RPC.TXT", "image.tif", "image.RPB"])
def test_gdal_reads_what_is_written(tmp_path, name):
    values = np.arange(12, dtype="uint8").reshape(3, 4)
    form = {"driver": "GTiff", "width": 4, "height": 3, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "image.tif", "w", **form) as file:
        file.write(values, 1)
        file.rpcs = RPC(**made_rpcs(1).to_dict())
    rpcs = made_rpcs(9)
    write_rpcs(tmp_path / name, RPCGround(rpcs))
    with rasterio.open(tmp_path / "image.tif") as file:
        np.testing.assert_allclose(file.rpcs.samp_num_coeff, rpcs.samp_num_coeff, rtol=1e-12)
        np.testing.assert_allclose([file.rpcs.line_off, file.rpcs.lat_off], [5000, 47.0])
        np.testing.assert_array_equal(file.read(1), values)


def test_bad_rpcs_are_refused(tmp_path):
    with pytest.raises(OptionError, match="20 finite numbers line_num_coeff, not 3"):
        dataclasses.replace(made_rpcs(), line_num_coeff=(1.0, 2.0, 3.0))
    with pytest.raises(OptionError, match="no scale of RPCs may be 0"):
        dataclasses.replace(made_rpcs(), lat_scale=0.0)
    (tmp_path / "cut_RPC.TXT").write_text("LINE_OFF: 5 pixels\n")
    with pytest.raises(OptionError, match="has no SAMP_OFF"):
        read_rpcs(tmp_path / "cut_RPC.TXT")
    with pytest.raises(OptionError, match=r"not written to image\.txt"):
        write_rpcs(tmp_path / "image.txt", made_rpcs())
    with pytest.raises(OptionError, match="write the image first"):
        write_rpcs(tmp_path / "image.tif", made_rpcs())
