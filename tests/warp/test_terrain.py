"""Raw images over terrain: against GDAL, the truth, voids, hidden places, datums; lazily."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer
from rasterio.warp import Resampling, reproject
from tests.georef.test_rpc import made_rpcs
from xarray import DataArray

import xcoreg
from xcoreg.errors import CoregWarning, NoOverlap, OptionError
from xcoreg.georef import Corners, RPCGround, Terrain, TerrainGround, transform_points
from xcoreg.georef.terrain import bilinear
from xcoreg.io.terrain import read_terrain
from xcoreg.simulate import raw_scene

UTM = "EPSG:32633"


def hills(step=60.0, n=300, relief=1500.0, seed=0, crs=UTM):
    """Smooth hills of some relief around (12.2 E, 47 N)."""
    rng = np.random.default_rng(seed)
    from scipy.ndimage import gaussian_filter

    heights = gaussian_filter(rng.normal(0, 1, (n, n)), 12)
    heights = (heights - heights.min()) / np.ptp(heights) * relief + 300
    x, y = (float(one) for one in transform_points("EPSG:4326", UTM, 12.2, 47.0))
    half = step * n / 2
    return Terrain(heights.astype(np.float32), Affine(step, 0, x - half, 0, -step, y + half), crs)


def as_array(terrain, **attrs):
    rows, cols = terrain.heights.shape
    a, _, c, _, e, f = tuple(terrain.transform)[:6]
    axes = {"y": f + e * (np.arange(rows) + 0.5), "x": c + a * (np.arange(cols) + 0.5)}
    return DataArray(terrain.heights, axes, ("y", "x"), attrs=attrs).rio.write_crs(terrain.crs)


@pytest.fixture(scope="module")
def scene():
    return raw_scene(hills(), (220, 200), 15.0, correction=(0.0, 0.0), seed=2)


@pytest.fixture(scope="module")
def dem_file(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("dem") / "dem.tif"
    as_array(scene.terrain).rio.to_raster(path)
    return path


def test_places_are_those_of_gdal(scene, dem_file):
    grid = scene.ref.coreg.grid
    ground = TerrainGround(RPCGround(scene.rpcs), scene.terrain)
    rng = np.random.default_rng(0)
    col, row = rng.uniform(0, 199, 300), rng.uniform(0, 219, 300)
    lon, lat = ground.to_map(col, row)
    with RPCTransformer(RPC(**scene.rpcs.to_dict()), RPC_DEM=str(dem_file)) as gdal:
        line, pixel = gdal.rowcol(lon, lat, op=lambda value: value)
    np.testing.assert_allclose(np.array(pixel) - 0.5, col, atol=1e-3)
    np.testing.assert_allclose(np.array(line) - 0.5, row, atol=1e-3)
    assert grid.crs.epsg == 32633


def test_an_orthoimage_is_that_of_gdal(scene, dem_file):
    grid = scene.ref.coreg.grid
    ours = scene.raw.coreg.rectify(
        scene.rpcs, like=scene.ref, dem=dem_file, vertical_datum="ellipsoid", resampling="bilinear"
    )
    theirs = np.full(scene.ref.shape, np.nan, np.float32)
    reproject(
        scene.raw.values, theirs, rpcs=RPC(**scene.rpcs.to_dict()), src_crs="EPSG:4326", dst_transform=grid.affine,
        dst_crs=grid.crs.to_wkt(), resampling=Resampling.bilinear, tolerance=0, RPC_DEM=str(dem_file),
        dst_nodata=np.nan, init_dest_nodata=True, XSCALE=1, YSCALE=1,
    )  # fmt: skip
    both = np.isfinite(ours.values) & np.isfinite(theirs)
    slope = np.hypot(*np.gradient(scene.ref.values)).mean()
    assert both.mean() > 0.4
    assert np.abs(ours.values - theirs)[both].max() < 0.02 * slope
    assert (np.isfinite(ours.values) ^ np.isfinite(theirs)).mean() < 0.01  # edges of the image


def test_terrain_leaves_noise_alone_and_one_height_does_not(scene):
    def left(**how):
        made = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, **how)
        return float((made - scene.ref).std())

    noise = 150 / 10 ** (30 / 20) * np.sqrt(2)
    assert left(dem=scene.terrain) < 2.5 * noise
    assert left(height=scene.rpcs.height_off) > 10 * noise


def test_lazily_and_in_any_chunks_the_same_bits(scene):
    now = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=scene.terrain)
    for chunks in (64, (50, 200)):
        later = scene.raw.chunk(dict(zip(("y", "x"), np.broadcast_to(chunks, 2).tolist(), strict=True)))
        made = later.coreg.rectify(scene.rpcs, like=scene.ref, dem=scene.terrain)
        assert made.chunks is not None
        np.testing.assert_array_equal(made.values, now.values)


def test_positions_over_terrain_are_exact(scene):
    """Against the exact chain, which projects every place by itself."""
    from xcoreg.warp.rectify import _ground_mapping
    from xcoreg.warp.terrain import mapping_of

    ground = TerrainGround(RPCGround(scene.rpcs), scene.terrain)
    source = GeoBox(scene.raw.shape, Affine.identity(), "EPSG:4326")
    mapping = mapping_of(scene.ref.coreg.grid, source, _ground_mapping(ground, scene.raw.shape))
    rows, cols = slice(40, 200), slice(60, 200)
    found = mapping.positions(rows, cols)
    exact = mapping.exact(*np.mgrid[rows, cols])
    assert np.nanmax(np.hypot(found[0] - exact[0], found[1] - exact[1])) < 0.002
    low, high, left, right = mapping.window(rows, cols, 0)
    inside = (exact[0] >= 0) & (exact[0] <= 219) & (exact[1] >= 0) & (exact[1] <= 199)
    assert low <= exact[0][inside].min()
    assert exact[0][inside].max() <= high - 1 + 1e-6
    assert left <= exact[1][inside].min()
    assert exact[1][inside].max() <= right - 1 + 1e-6


def test_voids_are_missing_and_named(scene):
    heights = scene.terrain.heights.copy()
    heights[130:150, 130:150] = np.nan
    dem = as_array(Terrain(heights, scene.terrain.transform, UTM))
    with pytest.warns(CoregWarning, match="has no height below about"):
        made = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=dem, vertical_datum=0)
    full = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=scene.terrain)
    gone = np.isfinite(full.values) & ~np.isfinite(made.values)
    x, y = np.meshgrid(scene.ref.x, scene.ref.y)
    height = Terrain(heights, scene.terrain.transform, UTM).at(UTM, x, y)
    np.testing.assert_array_equal(gone, np.isfinite(full.values) & np.isnan(height))


def test_locate_and_place_know_heights(scene):
    raw, where = scene.raw, {"ground": scene.rpcs, "dem": scene.terrain}
    col, row = np.array([10.0, 120.5, 190.0]), np.array([200.0, 33.25, 110.0])
    x, y = raw.coreg.place(col, row, crs=UTM, **where)
    found = raw.coreg.locate(np.column_stack([x, y]), crs=UTM, **where)
    np.testing.assert_allclose((found.col, found.row), (col, row), atol=1e-6)
    flat = raw.coreg.place(col, row, crs=UTM, ground=scene.rpcs, height=scene.rpcs.height_off)
    assert np.hypot(flat[0] - x, flat[1] - y).max() > 50
    one = raw.coreg.place(col, row, crs=UTM, ground=scene.rpcs, dem=scene.rpcs.height_off)
    np.testing.assert_allclose(one, flat, atol=1e-6)


def wall():
    """A plain at 0 m with a wall of 1000 m, 600 m wide, that runs north: it hides what is behind it."""
    heights = np.zeros((200, 200), np.float32)
    heights[:, 95:105] = 1000.0
    x, y = (float(one) for one in transform_points("EPSG:4326", UTM, 12.2, 47.0))
    return Terrain(heights, Affine(60, 0, x - 6000, 0, -60, y + 6000), UTM)


def test_a_pixel_sees_the_first_thing_on_its_ray():
    terrain = wall()
    scene = raw_scene(terrain, (60, 120), 60.0, off_nadir=40.0, heading=0.0, correction=(0.0, 0.0), seed=1)
    lon, lat = scene.ground.to_map(*np.meshgrid(np.arange(120.0), [30.0]))
    heights = terrain.at("EPSG:4326", lon, lat)
    assert heights.max() > 900
    ground = scene.ground
    seen = ~ground.hidden(lon, lat)
    assert seen.all()
    x, _ = transform_points("EPSG:4326", UTM, lon, lat)
    steps = np.diff(x.ravel())
    jump = steps.max()  # from the edge of the wall to the end of its shadow: 1000 m tan(40)
    assert 700 < jump < 900 + 2 * 60


def test_hidden_places_can_be_left_out():
    scene = raw_scene(wall(), (60, 120), 60.0, off_nadir=40.0, heading=0.0, correction=(0.0, 0.0), seed=1)
    both = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=scene.terrain)
    seen = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=scene.terrain, drop_hidden=True)
    gone = np.isfinite(both.values) & np.isnan(seen.values)
    assert 0.02 < gone.mean() < 0.2
    kept = np.isfinite(seen.values)
    np.testing.assert_array_equal(seen.values[kept], both.values[kept])
    row, col = (np.nonzero(gone)[k] for k in (0, 1))
    lon, lat = transform_points(UTM, "EPSG:4326", scene.ref.x.values[col], scene.ref.y.values[row])
    assert TerrainGround(RPCGround(scene.rpcs), scene.terrain).hidden(lon, lat).all()
    with pytest.raises(OptionError, match="give the terrain, dem="):
        scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, drop_hidden=True)


def test_the_vertical_datum_is_asked_for(scene):
    dem = as_array(scene.terrain)
    with pytest.warns(CoregWarning, match="vertical datum of the DEM is unknown"):
        terrain = read_terrain(dem)
    np.testing.assert_array_equal(terrain.heights, scene.terrain.heights)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raised = read_terrain(dem, 46.5)
    np.testing.assert_allclose(raised.heights - terrain.heights, 46.5, atol=1e-3)
    with pytest.raises(OptionError, match="'sea' is unknown"):
        read_terrain(dem, "sea")
    with pytest.raises(OptionError, match="has no heights"):
        read_terrain(dem, "EPSG:4326")


def test_a_geoid_whose_grid_is_not_installed_names_it(scene, monkeypatch):
    class Missing:
        best_available = False
        transformers = ()
        unavailable_operations = ()

    monkeypatch.setattr("xcoreg.georef.vertical.TransformerGroup", lambda *_, **__: Missing())
    with pytest.raises(OptionError, match=r"above EGM96 height, whose grid is not installed"):
        read_terrain(as_array(scene.terrain), "EGM96")


def test_feet_and_scaled_heights_become_metres(scene):
    heights = scene.terrain.heights
    feet = as_array(Terrain(heights / 0.3048, scene.terrain.transform, UTM), units="ft")
    np.testing.assert_allclose(read_terrain(feet, "ellipsoid").heights, heights, rtol=1e-5)
    stored = as_array(
        Terrain(np.round(heights * 10) / 1, scene.terrain.transform, UTM), scale_factor=0.1, add_offset=0.0
    )
    np.testing.assert_allclose(read_terrain(stored, "ellipsoid").heights, heights, atol=0.06)


def test_a_dem_in_another_crs_gives_the_same(scene):
    far = as_array(scene.terrain).rio.reproject("EPSG:4326", resampling=Resampling.cubic, nodata=np.nan)
    here = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=scene.terrain)
    there = scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=far, vertical_datum="ellipsoid")
    assert float(abs(here - there).quantile(0.99)) < 0.1 * float(scene.ref.std())


def test_heights_beyond_those_of_the_rpcs_warn(scene):
    with pytest.warns(CoregWarning, match="leave those for which the RPCs were made"):
        scene.raw.coreg.rectify(scene.rpcs, like=scene.ref, dem=as_array(scene.terrain) + 3000.0, vertical_datum=0)


def test_what_does_not_go_together_is_refused(scene):
    raw = scene.raw
    with pytest.raises(OptionError, match="needs a georeference that knows heights"):
        raw.coreg.rectify(Corners((0, 1), (1, 1), (1, 0), (0, 0)), dem=scene.terrain)
    with pytest.raises(OptionError, match="dem= is a list"):
        raw.coreg.rectify(scene.rpcs, dem=[1, 2])
    with pytest.raises(OptionError, match="vertical_datum= says from where dem="):
        raw.coreg.rectify(scene.rpcs, vertical_datum="EGM96")
    away = Terrain(scene.terrain.heights, Affine.translation(1e6, 0) @ scene.terrain.transform, UTM)
    with pytest.raises(OptionError, match="does not lie below the image"):
        raw.coreg.rectify(scene.rpcs, dem=as_array(away), vertical_datum=0)
    far = GeoBox((10, 10), Affine(10, 0, 900000, 0, -10, 900000), UTM)
    with pytest.raises(NoOverlap):
        raw.coreg.rectify(scene.rpcs, like=far, dem=scene.terrain)


def test_bilinear_heights_share_the_weight_of_unknown_ones():
    values = np.array([[0.0, 10.0, np.nan], [20.0, 30.0, 40.0]])
    row, col = np.array([0.5, 0.0, 0.5, 0.0, -0.4, 5.0]), np.array([0.5, 1.0, 1.4, 1.6, 0.0, 0.0])
    found = bilinear(values, row, col)
    np.testing.assert_allclose(found[:3], [15.0, 10.0, (0.5 * 0.6 * 10 + 0.5 * 0.6 * 30 + 0.5 * 0.4 * 40) / 0.8])
    assert np.isnan(found[[3, 5]]).all()
    assert found[4] == 0.0


def test_integers_without_nodata_stay_integers_inside(scene):
    small = scene.ref.isel(y=slice(100, 140), x=slice(120, 150)).coreg.grid
    raw = scene.raw.astype("uint16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = raw.coreg.rectify(scene.rpcs, like=small, dem=scene.terrain)
    assert made.dtype == np.uint16
    assert int(made.min()) > 0


def test_a_model_of_another_place_has_no_overlap(scene):
    with pytest.raises((OptionError, NoOverlap)):
        scene.raw.coreg.rectify(made_rpcs(lon=100.0), like=scene.ref, dem=as_array(scene.terrain), vertical_datum=0)


def test_the_history_names_the_dem(scene):
    made = scene.raw.coreg.rectify(
        scene.rpcs, like=scene.ref, dem=as_array(scene.terrain).rename("srtm"), vertical_datum=0
    )
    assert '"dem": "srtm"' in made.attrs["xcoreg"]
    assert rasterio.crs.CRS.from_user_input(made.rio.crs) == scene.ref.rio.crs
    assert isinstance(xcoreg.coregister.rectify(scene.raw, scene.rpcs, dem=400.0), DataArray)
