import dask.array
import numpy as np
import pytest
from affine import Affine

from xcoreg.georef import transform_points, vector_to_map
from xcoreg.matching.cutter import make_cutters
from xcoreg.raster.raster import make_raster

UTM = "EPSG:32633"
ORIGIN = Affine(10, 0, 300000, 0, -10, 5900040)
CENTRE = np.array([300603.0, 300751.3]), np.array([5899447.0, 5899391.9])
TURN = np.radians(30)
ROTATED = Affine(
    10 * np.cos(TURN), 10 * np.sin(TURN), 299800, 10 * np.sin(TURN), -10 * np.cos(TURN), 5899900
)  # fmt: skip


def plane(x, y):
    """Linear in the map: means over pixels are exact."""
    return 0.3 * (x - 300000) - 0.2 * (y - 5899000)


def waves(x, y):
    """Smooth in the map: 190 m and 230 m long."""
    return 100 * np.sin((x - 300000) / 30.0) + 100 * np.cos((y - 5899000) / 37.0)


def cutters(target, reference):
    return make_cutters(make_raster(target, name="target"), make_raster(reference, name="reference"))


def positions(cut, linear):
    """Map positions of the pixels of windows, from their centres."""
    size = cut.values.shape[1]
    cols, rows = np.meshgrid(np.arange(size) - (size - 1) / 2, np.arange(size) - (size - 1) / 2)
    dx, dy = vector_to_map(linear, cols, rows)
    return cut.x[:, None, None] + dx, cut.y[:, None, None] + dy


def off(cut, linear, function):
    """Largest difference between what was cut and the truth, where it is valid."""
    truth = function(*positions(cut, linear))
    mean = (truth * cut.valid).sum((1, 2), keepdims=True) / cut.valid.sum((1, 2), keepdims=True)
    return np.abs(cut.values - (truth - mean))[cut.valid].max()


# --- which lattice ---------------------------------------------------------------------------------------------------


def north_up(x_size, y_size, x=300000, y=5900040):
    return Affine(x_size, 0, x, 0, -y_size, y)


def larger(grid, factor):
    a, b, c, d, e, f = tuple(grid)[:6]
    return Affine(a * factor, b * factor, c, d * factor, e * factor, f)


@pytest.mark.parametrize(
    ("target", "reference", "factors", "linear"),
    [
        (ORIGIN, north_up(10, 10, 300003, 5900036), ((1, 1), (1, 1)), (10, 0, 0, -10)),
        (ORIGIN, north_up(30, 30), ((3, 3), (1, 1)), (30, 0, 0, -30)),
        (north_up(30, 30), ORIGIN, ((1, 1), (3, 3)), (30, 0, 0, -30)),
        (ORIGIN, north_up(15, 15), (None, (1, 1)), (15, 0, 0, -15)),
        (north_up(15, 15), ORIGIN, ((1, 1), None), (15, 0, 0, -15)),
        (ORIGIN, north_up(10, -10), ((1, 1), None), (10, 0, 0, -10)),
        (ORIGIN, north_up(20, -20), (None, (1, 1)), (20, 0, 0, 20)),
        (ORIGIN, ROTATED, ((1, 1), None), (10, 0, 0, -10)),
        (ROTATED, larger(ROTATED, 2), ((2, 2), (1, 1)), (17.3205, 10, 10, -17.3205)),
        (north_up(20, 10), ORIGIN, ((1, 1), (2, 1)), (20, 0, 0, -10)),
    ],
)
def test_the_coarser_image_gives_the_lattice(make_field, target, reference, factors, linear):
    first, second, found = cutters(*(make_field(plane, (12, 12), grid) for grid in (target, reference)))
    assert (first.factor, second.factor) == factors
    assert found == pytest.approx(linear, rel=1e-5)


def test_in_another_crs_the_lattice_is_a_multiple_of_the_target(make_field):
    target = make_field(plane, (20, 20))
    reference = make_field(plane, (20, 20), Affine(20, 0, 702000, 0, -20, 5905000), "EPSG:32632")
    first, second, linear = cutters(target, reference)
    assert (first.factor, second.factor) == ((2, 2), None)
    assert linear == pytest.approx((20, 0, 0, -20))


# --- native pixels ---------------------------------------------------------------------------------------------------


def test_native_windows_are_the_pixels_themselves(make_field):
    image = make_field(waves, (120, 120))
    cutter, _, linear = cutters(image, image)
    cut = cutter.cut(*CENTRE, 33)
    assert off(cut, linear, waves) < 2e-5
    assert cut.valid.all()


@pytest.mark.parametrize("size", [32, 33])
def test_centres_are_the_nearest_that_pixels_allow(make_field, size):
    image = make_field(waves, (120, 120))
    cut = cutters(image, image)[0].cut(*CENTRE, size)
    assert max(np.abs(cut.x - CENTRE[0]).max(), np.abs(cut.y - CENTRE[1]).max()) <= 5.0


def test_a_lattice_off_by_a_fraction_keeps_its_own_pixels(make_field):
    target, reference = (
        make_field(waves, (120, 120)),
        make_field(waves, (120, 120), Affine(10, 0, 300003.7, 0, -10, 5900031)),
    )
    _, cutter, linear = cutters(target, reference)
    assert cutter.factor == (1, 1)
    assert off(cutter.cut(*CENTRE, 32), linear, waves) < 2e-5


@pytest.mark.parametrize(("factor", "size"), [(2, 16), (3, 16), (3, 17), (6, 10)])
def test_whole_factors_average_pixels_where_they_lie(make_field, factor, size):
    fine = make_field(plane, (360, 360), Affine(10, 0, 299103.3, 0, -10, 5901040))
    coarse = make_field(plane, (60, 60), Affine(10 * factor, 0, 299100, 0, -10 * factor, 5901040))
    cutter, _, linear = cutters(fine, coarse)
    cut = cutter.cut(*CENTRE, size)
    assert cutter.factor == (factor, factor)
    assert off(cut, linear, plane) < 1e-3
    assert max(np.abs(cut.x - CENTRE[0]).max(), np.abs(cut.y - CENTRE[1]).max()) <= 5.0


def test_beyond_the_image_nothing_is_valid(make_field):
    image = make_field(waves, (40, 40))
    cut = cutters(image, image)[0].cut(np.array([300000.0]), np.array([5900040.0]), 20)
    assert cut.valid[0].sum() == 100
    assert cut.valid[0, 10:, 10:].all()
    assert not cut.values[~cut.valid].any()


def test_nodata_is_not_valid_and_not_in_the_mean(make_field):
    image = make_field(lambda x, y: np.where(x < 300200, -99.0, plane(x, y)), (40, 40), nodata=-99)
    cutter, _, linear = cutters(image, image)
    cut = cutter.cut(np.array([300200.0]), np.array([5899840.0]), 20)
    assert cut.valid[0].sum() == 200
    assert off(cut, linear, plane) < 1e-4


def test_coarse_pixels_with_holes_are_the_mean_of_the_rest(make_field):
    fine = make_field(lambda x, y: np.where(x < 300100, np.nan, 0.2 * (y - 5899000)), (90, 90))
    coarse = make_field(plane, (30, 30), Affine(30, 0, 300000, 0, -30, 5900040))
    cutter, _, linear = cutters(fine, coarse)
    cut = cutter.cut(np.array([300135.0]), np.array([5899905.0]), 9)
    assert cut.valid[0].all(0).tolist() == [False] * 3 + [True] * 6
    assert off(cut, linear, lambda x, y: 0.2 * (y - 5899000)) < 1e-4


# --- resampled -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [40, 41])
@pytest.mark.parametrize(
    "grid",
    [
        pytest.param(Affine(10, 0, 300002.2, 0, 10, 5898837), id="south-up"),
        pytest.param(Affine(-10, 0, 301203, 0, -10, 5900036), id="mirrored"),
        pytest.param(ROTATED, id="rotated"),
        pytest.param(Affine(6.6, 0, 300001, 0, -6.6, 5900038), id="1.5 times finer"),
        pytest.param(Affine(4, 0, 300001, 0, -4, 5900038), id="2.5 times finer"),
        pytest.param(Affine(10, 0, 300003, 0, -8, 5900036), id="oblong"),
    ],
)
def test_resampled_windows_show_the_same_ground(make_field, grid, size):
    target = make_field(waves, (120, 120))
    reference = make_field(waves, (300, 300) if grid.a < 7 and not grid.b else (170, 170), grid)
    _, cutter, linear = cutters(target, reference)
    cut = cutter.cut(*CENTRE, size)
    assert cutter.factor is None
    assert cut.valid.mean() > 0.95
    assert off(cut, linear, waves) < 1.5  # of a range of 400


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3035"])
def test_another_crs_shows_the_same_ground(make_field, crs):
    def seen(x, y):
        return waves(*transform_points(crs, UTM, x, y))

    x, y = transform_points(UTM, crs, np.array([300600.0]), np.array([5899440.0]))
    reference = make_field(seen, (150, 150), Affine(10, 0, x[0] - 750, 0, -10, y[0] + 750), crs)
    _, cutter, linear = cutters(make_field(waves, (120, 120)), reference)
    cut = cutter.cut(*CENTRE, 48)
    assert cut.valid.all()
    assert off(cut, linear, waves) < 1.5


def test_grids_that_are_only_turned_lose_nothing(make_field):
    target = make_field(waves, (120, 120))
    south_up = make_field(waves, (120, 120), Affine(10, 0, 300000, 0, 10, 5898840))
    _, cutter, linear = cutters(target, south_up)
    assert off(cutter.cut(*CENTRE, 40), linear, waves) < 2e-5


def test_resampled_nodata_does_not_leak(make_field):
    def holed(x, y):
        return np.where(np.hypot(x - 300600, y - 5899440) < 60, 1e6, waves(x, y))

    reference = make_field(holed, (170, 170), ROTATED, nodata=1e6)
    _, cutter, linear = cutters(make_field(waves, (120, 120)), reference)
    cut = cutter.cut(*CENTRE, 40)
    hole = np.hypot(positions(cut, linear)[0] - 300600, positions(cut, linear)[1] - 5899440)
    assert not cut.valid[hole < 50].any()
    assert cut.valid[hole > 85].mean() > 0.95
    assert off(cut, linear, waves) < 40


def test_resampled_windows_off_the_image_are_empty(make_field):
    target, reference = make_field(waves, (120, 120)), make_field(waves, (60, 60), ROTATED)
    cut = cutters(target, reference)[1].cut(np.array([500000.0]), np.array([5800000.0]), 32)
    assert not cut.valid.any()
    assert not cut.values.any()


# --- masks and laziness ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [ORIGIN, ROTATED])
def test_masks_are_asked_where_the_pixels_lie(make_field, grid):
    from dataclasses import replace

    image = make_field(waves, (170, 170), grid)
    _, cutter, linear = cutters(make_field(waves, (120, 120)), image)
    cut = replace(cutter, mask=lambda x, y: x + y < 6200050).cut(*CENTRE, 32)
    x, y = positions(cut, linear)
    assert np.array_equal(cut.valid, x + y < 6200050)


def test_dask_computes_the_chunks_under_the_windows_alone(make_field):
    touched = set()

    def note(block, block_info=None):
        touched.add(tuple(block_info[0]["chunk-location"]))
        return block

    image = make_field(waves, (120, 120))
    plain = cutters(image, image)[0].cut(*CENTRE, 30)
    data = dask.array.from_array(image.values, chunks=20).map_blocks(note, dtype=float, meta=np.empty((0, 0)))
    lazy = image.copy(data=data)
    cutter, _, _ = make_cutters(make_raster(lazy, nodata=-1), make_raster(image))
    touched.clear()
    cut = cutter.cut(*CENTRE, 30)
    assert np.array_equal(cut.values, plain.values)
    assert touched == {(row, col) for row in (2, 3) for col in (2, 3, 4)}
