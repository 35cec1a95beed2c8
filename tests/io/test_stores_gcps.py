import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject
from scipy.ndimage import gaussian_filter, map_coordinates

from xcoreg import georef
from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.files import NoSuchFile
from xcoreg.io.read import open_raster
from xcoreg.io.stores import write_gcps
from xcoreg.io.write import write_raster
from xcoreg.results.tiepoints import TiePoints

GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)
SIZE = 240
UTM = CRS.from_epsg(32633).to_wkt()


def truth(col, row):
    """Correction in pixels at places of the target."""
    return 2.5 + 1.5 * np.sin(row / 90), -1.0 + 1.2 * np.cos(col / 80)


def make_points(crs=UTM):
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[0:SIZE:13, 0:SIZE:13])
    dcol, drow = truth(col, row)
    x, y = georef.pixel_to_map(GRID, col, row)
    dx, dy = georef.vector_to_map(georef.linear_of(GRID), dcol, drow)
    cov = np.tile(np.eye(2) * 0.04, (row.size, 1, 1))
    return TiePoints(np.arange(row.size), row, col, x, y, dx, dy, dcol, drow, cov, crs_wkt=crs)


@pytest.fixture
def image(tmp_path):
    values = gaussian_filter(np.random.default_rng(1).normal(size=(SIZE, SIZE)), 3) * 5000 + 1000
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "float32", "nodata": -9999}
    with rasterio.open(tmp_path / "a.tif", "w", crs=UTM, transform=Affine(*GRID), **profile) as file:
        file.write(values.astype("float32"), 1)
        file.set_band_description(1, "red")
        file.update_tags(sensor="MSI")
    return tmp_path / "a.tif"


@pytest.mark.parametrize("name", ["out.tif", "out.vrt"])
def test_gcps_are_read_back(image, name):
    points = make_points()
    write_gcps(image, points, image.with_name(name))
    with rasterio.open(image.with_name(name)) as file:
        gcps, crs = file.gcps
        assert crs.to_epsg() == 32633
        assert len(gcps) == len(points)
        assert (gcps[1].col, gcps[1].row) == pytest.approx((13.5, 0.5))
        assert (gcps[1].x, gcps[1].y) == pytest.approx((points.x[1] + points.dx[1], points.y[1] + points.dy[1]))
        assert file.transform.is_identity
        assert (file.nodata, file.descriptions, file.tags()["sensor"]) == (-9999, ("red",), "MSI")
        with rasterio.open(image) as old:
            assert np.array_equal(file.read(), old.read())


def test_a_vrt_keeps_ids_and_moves_with_its_image(image, tmp_path):
    write_gcps(image, make_points(), image.with_name("out.vrt"))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("a.tif", "out.vrt"):
        (tmp_path / name).rename(moved / name)
    with rasterio.open(moved / "out.vrt") as file:
        assert file.gcps[0][7].id == "7"
        assert "sigma_x=0.2" in file.gcps[0][7].info
        assert file.read(1).std() > 0


def warped(path, **options):
    with rasterio.open(path) as file:
        gcps, crs = file.gcps
        out = np.full((SIZE, SIZE), np.nan, "float32")
        reproject(
            file.read(1), out, gcps=gcps, src_crs=crs, dst_crs=crs, dst_transform=Affine(*GRID), dst_nodata=np.nan,
            resampling=Resampling.cubic, **options,
        )  # fmt: skip
    return out


def expected(image):
    """The image at the positions that the truth moves onto each output pixel."""
    row, col = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    at_col, at_row = col, row
    for _ in range(30):
        dcol, drow = truth(at_col, at_row)
        at_col, at_row = col - dcol, row - drow
    with rasterio.open(image) as file:
        return map_coordinates(file.read(1), [at_row, at_col], order=3)


@pytest.mark.parametrize("options", [{"SRC_METHOD": "GCP_TPS"}, {"MAX_GCP_ORDER": 3}], ids=["spline", "order 3"])
def test_gdal_warps_to_where_the_truth_lies(image, options):
    write_gcps(image, make_points(), image.with_name("out.tif"))
    inner = (slice(20, -20), slice(20, -20))
    got, wanted = warped(image.with_name("out.tif"), **options)[inner], expected(image)[inner]
    with rasterio.open(image) as file:
        untouched = np.sqrt(np.mean((file.read(1)[inner] - wanted) ** 2))
    left = np.sqrt(np.nanmean((got - wanted) ** 2))
    assert np.isfinite(got).all()
    # GDAL's cubic kernel against a spline: one percent of the contrast, a fiftieth of a pixel or so.
    assert left < 0.015 * wanted.std()
    assert left < untouched / 50


def test_points_in_another_crs_are_brought_to_the_image(image):
    pytest.importorskip("geopandas")
    here = make_points()
    from xcoreg.results.tiepoints import as_points

    there = as_points(here, GeoBox((900, 900), Affine(1.5e-4, 0, 12, 0, -1e-4, 53.3), "EPSG:4326"))
    write_gcps(image, there, image.with_name("out.tif"))
    with rasterio.open(image.with_name("out.tif")) as file:
        assert [gcp.x for gcp in file.gcps[0]] == pytest.approx((here.x + here.dx).tolist(), abs=1e-3)
        assert [gcp.col for gcp in file.gcps[0]] == pytest.approx((here.col + 0.5).tolist(), abs=1e-4)


def test_points_are_thinned_on_request(image):
    write_gcps(image, make_points(), image.with_name("out.vrt"), max_points=40)
    with rasterio.open(image.with_name("out.vrt")) as file:
        assert 20 < len(file.gcps[0]) <= 40
        assert isinstance(file.gcps[0][0], GroundControlPoint)


def test_what_cannot_be_done_is_told(image):
    with pytest.raises(NoSuchFile):
        write_gcps("missing.tif", make_points(), image.with_name("out.tif"))
    with pytest.raises(OptionError, match="input itself"):
        write_gcps(image, make_points(), image)
    with pytest.raises(OptionError, match="positions but no corrections"):
        write_gcps(image, [[300100.0, 5899900.0]], image.with_name("out.tif"))


def test_an_image_without_a_place_is_refused(tmp_path):
    profile = {"driver": "GTiff", "width": 5, "height": 5, "count": 1, "dtype": "uint8", "crs": UTM}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        rasterio.open(tmp_path / "a.tif", "w", **profile).close()
    with pytest.raises(NotGeoreferenced, match="has no transform"):
        write_gcps(tmp_path / "a.tif", make_points(), tmp_path / "b.tif")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("options", [{}, {"driver": "COG"}])
@pytest.mark.parametrize("chunks", [None, 100])
def test_an_image_with_control_points_keeps_them_when_written(image, tmp_path, options, chunks):
    placed = write_gcps(image, make_points(), tmp_path / "placed.tif")
    opened = open_raster(placed, chunks=chunks)
    with rasterio.open(placed) as file:
        before, crs = file.gcps
    with rasterio.open(write_raster(opened, tmp_path / "copy.tif", **options)) as file:
        after, kept = file.gcps
        assert kept == crs
        assert file.transform.is_identity
        for name in ("row", "col", "x", "y"):
            np.testing.assert_allclose([getattr(p, name) for p in after], [getattr(p, name) for p in before])
        np.testing.assert_array_equal(file.read(), opened)
    with rasterio.open(write_raster(opened[:, 50:], tmp_path / "part.tif", **options)) as file:
        assert file.gcps[0] == []  # they count the pixels of the whole
