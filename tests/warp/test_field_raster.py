import numpy as np
import pytest
import rasterio
from affine import Affine as Transform
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.core.models import fit_model
from xcoreg.errors import MatchError, OptionError
from xcoreg.raster.grid import grid_of
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.tiepoints import TiePoints
from xcoreg.warp.field_raster import displacement_raster, node_grid, write_field

GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)
TURNED = (9.8, 1.7, 500000.0, 1.7, -9.8, 5900000.0)


def make_fit(grid=GRID, crs="EPSG:32633", step=100):
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[50:1000:step, 50:1200:step])
    x, y = georef.pixel_to_map(grid, col, row)
    rng = np.random.default_rng(4)
    dx, dy = 5 + 1e-3 * (x - x[0]) + rng.normal(0, 0.1, x.size), -3 + 5e-4 * (y - y[0]) + rng.normal(0, 0.2, x.size)
    dcol, drow = georef.vector_to_pixel(georef.linear_of(grid), dx, dy)
    cov = np.tile(np.diag([0.01, 0.04]), (x.size, 1, 1))
    points = TiePoints(np.arange(x.size), row, col, x, y, dx, dy, dcol, drow, cov, crs_wkt=crs)
    model = fit_model("affine", x, y, dx, dy, cov)
    return Coregistration(model, points, Quality(), Status.OK, None, crs, grid, (1000, 1200))


def test_a_node_holds_the_model_at_its_centre():
    fit = make_fit()
    field = fit.to_raster(resolution=500)
    assert field.sizes == {"band": 3, "y": 20, "x": 24}
    x, y = float(field.x[3]), float(field.y[5])
    assert (x, y) == (301750.0, 5897250.0)
    dx, dy = fit.model.predict(x, y)
    cov = fit.model.predict_cov(x, y)
    assert field[:, 5, 3].values == pytest.approx(np.array([dx, dy, np.sqrt(np.linalg.eigvalsh(cov)[-1])]))


def test_a_quarter_of_the_spacing_is_usual():
    field = make_fit().to_raster()
    assert grid_of(field).resolution.x == 250.0
    assert field.shape == (3, 40, 48)


def test_dense_points_give_at_most_a_thousand_nodes():
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[0:3000:100, 0:3000:1000])
    x, y = georef.pixel_to_map(GRID, col, row)
    points = TiePoints(np.arange(x.size), row, col, x, y, *[np.zeros(x.size)] * 4)
    fit = Coregistration(None, points, Quality(), Status.OK, None, "EPSG:32633", GRID, (40_000, 50_000))
    assert max(node_grid(fit).shape) == 1000


def test_attributes_tell_sign_and_unit():
    attrs = make_fit().to_raster(resolution=1000).attrs
    assert attrs["long_name"] == ("dx", "dy", "sigma")
    assert attrs["units"] == ("metre",) * 3
    assert "x_ref = x_tgt + dx" in attrs["sign"]
    assert attrs["model"] == "affine"


def test_a_turned_target_gives_a_turned_raster(tmp_path):
    fit = make_fit(TURNED)
    field = fit.to_raster(resolution=1000)
    grid = grid_of(field)
    assert grid.affine.b == pytest.approx(1.7 * 1000 / np.hypot(9.8, 1.7))
    x, y = georef.pixel_to_map(grid.affine, 4, 2)
    assert field.values[0, 2, 4] == pytest.approx(float(fit.model.predict(x, y)[0]))
    write_field(fit, tmp_path / "f.tif", resolution=1000)
    with rasterio.open(tmp_path / "f.tif") as file:
        assert file.transform.almost_equals(Transform(*tuple(grid.affine)[:6]))


def test_like_gives_its_grid_in_its_units():
    fit = make_fit()
    like = GeoBox((30, 40), Transform(5e-4, 0, 12.1, 0, -5e-4, 53.2), "EPSG:4326")
    field = displacement_raster(fit, like=like)
    assert grid_of(field) == like
    x, y = georef.pixel_to_map(like.affine, 7, 3)
    here = georef.transform_points("EPSG:4326", "EPSG:32633", x, y)
    dx, dy = fit.model.predict(*here)
    there = georef.transform_points("EPSG:32633", "EPSG:4326", here[0] + dx, here[1] + dy)
    assert field.values[:2, 3, 7] == pytest.approx([float(there[0] - x), float(there[1] - y)], abs=1e-10)
    sigma = np.sqrt(np.linalg.eigvalsh(fit.model.predict_cov(*here))[-1])
    assert field.values[2, 3, 7] / sigma == pytest.approx(1 / 111_000, rel=0.75)
    assert field.attrs["units"][0] == "degree"


def test_a_geotiff_names_its_bands(tmp_path):
    fit = make_fit()
    write_field(fit, tmp_path / "f.tif")
    with rasterio.open(tmp_path / "f.tif") as file:
        assert file.descriptions == ("dx", "dy", "sigma")
        assert file.units == ("metre",) * 3
        assert set(file.dtypes) == {"float32"}
        assert file.crs.to_epsg() == 32633
        assert "x_ref = x_tgt + dx" in file.tags()["sign"]
        np.testing.assert_allclose(file.read(1), fit.to_raster().values[0], rtol=1e-6)


@pytest.mark.parametrize("options", [{"resolution": 0}, {"resolution": (1, 2, 3)}, {"like": 5}, {"resolution": 1e-3}])
def test_options_that_cannot_be_used(options):
    with pytest.raises(OptionError):
        make_fit().to_raster(**options)


def test_both_options_and_no_model():
    fit = make_fit()
    with pytest.raises(OptionError, match="give one of them"):
        fit.to_raster(resolution=100, like=fit.to_raster())
    failed = Coregistration(None, fit.points, Quality(), Status.NO_PEAK, None, None, GRID, (9, 9))
    with pytest.raises(MatchError, match="no correction"):
        failed.to_raster()
