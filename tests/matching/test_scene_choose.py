import numpy as np
import pytest
import shapely
from affine import Affine
from scipy.ndimage import uniform_filter

from xcoreg.core.sampling import box_means, box_shares
from xcoreg.errors import GridError, OptionError
from xcoreg.georef import vector_to_map, vector_to_pixel
from xcoreg.matching.masks import as_mask
from xcoreg.matching.scene import (
    _candidates,
    choose_centres,
    overlap_size,
    spread_out,
    spread_to_corners,
    window_size,
)
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster

UTM = "EPSG:32633"
NORTH_UP = (10.0, 0.0, 0.0, -10.0)
BOUNDS = shapely.box(300000, 5896040, 304000, 5900040)
SIZE = (400, 400)  # of it, px


def noise(where):
    """Texture where a function of the position says so, nearly nothing elsewhere."""
    rng = np.random.default_rng(1)
    return lambda x, y: 1000 + np.where(where(x, y), 100, 0.5) * rng.standard_normal(x.size)


def choose(*images, size=64, overlap=BOUNDS, mask=None):
    overviews = [overview_of(make_raster(image, nodata=0)) for image in images]
    at, scores = choose_centres(overlap, NORTH_UP, size, tuple(overviews), UTM, mask)
    return np.stack(vector_to_map(NORTH_UP, *at.T), -1), scores


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_overlap_is_measured_on_the_lattice():
    assert overlap_size(BOUNDS, (20.0, 0.0, 0.0, -10.0)) == pytest.approx((200, 400))


def test_overlap_is_measured_along_turned_axes():
    c = 10 * np.sqrt(0.5)
    cols, rows = overlap_size(shapely.box(0, 0, 1000, 1000), (c, c, c, -c))
    assert (cols, rows) == pytest.approx((100 * np.sqrt(2), 100 * np.sqrt(2)))


@pytest.mark.parametrize("wanted", [16, 255, 400, 480])
def test_a_window_that_is_asked_for_is_used(wanted):
    assert window_size(wanted, SIZE) == wanted


@pytest.mark.parametrize("side", [16, 33, 100, 127])
def test_small_overlaps_are_one_window(side):
    assert window_size(None, (side, 500)) == side


@pytest.mark.parametrize("side", [150, 300, 1000, 9000])
def test_windows_fit_into_the_overlap(side):
    assert 100 <= window_size(None, (side, side)) <= min(side, 256)


@pytest.mark.parametrize(("room", "size"), [((128, 128), 128), ((180, 180), 176), ((215, 240), 208), ((200, 300), 200)])
def test_one_window_sees_all_of_an_image_in_which_no_three_fit(room, size):
    assert window_size(None, room) == window_size(None, room[::-1]) == size


@pytest.mark.parametrize("room", [(256, 256), (200, 400), (300, 260)])
def test_three_windows_fit_where_they_are_smaller_than_the_image(room):
    size = window_size(None, room)
    overlap = shapely.box(300003, 5896040, 300003 + 10 * room[0], 5896040 + 10 * room[1])
    places = np.stack(vector_to_pixel(NORTH_UP, *_candidates(overlap, NORTH_UP, size).T), -1)
    scores = np.ones(len(places))
    assert max(len(spread_out(places, scores, 9, size)), len(spread_to_corners(places, scores, size))) >= 3


@pytest.mark.parametrize("side", [400, 500, 512, 600, 724])
def test_several_windows_fit_wherever_the_best_one_lies(side):
    size = window_size(None, (side, side))
    assert side / size > 2.5
    assert max(p for p in range(2, size + 1) if size % p == 0 and all(p % q for q in range(2, p))) <= 13


def test_means_over_boxes_are_those_of_a_filter():
    values = np.random.default_rng(0).random((40, 51))
    row, col = (part.ravel() for part in np.mgrid[:40, :51])
    for box in ((5, 8), (1, 3), (20, 21)):
        wanted = uniform_filter(values, box, mode="constant")
        assert np.allclose(box_means(values, box, row, col).reshape(values.shape), wanted, atol=1e-12)


@pytest.mark.parametrize("hole", [False, True])
def test_shares_over_boxes_are_their_means_bit_for_bit(hole):
    known = np.ones((40, 51), bool)
    known[0], known[:, 0], known[7, 9] = False, False, not hole
    row, col = (part.ravel() for part in np.mgrid[:40, :51])
    for box in ((5, 8), (1, 3), (20, 21)):
        wanted = box_means(known.astype(np.float32), box, row, col)
        assert (box_shares(known, box, row, col) == wanted).all()
        assert wanted.min() < wanted.max()


def test_a_window_larger_than_the_overlap_is_refused_with_the_cure():
    with pytest.raises(OptionError, match=r"window=600 is larger than the overlap of 400 x 400 px.*window=400"):
        window_size(600, SIZE)


def test_an_overlap_of_a_few_pixels_is_refused():
    with pytest.raises(GridError, match=r"the overlap is only 300 x 12 px.*at least 16 x 16"):
        window_size(None, (300, 12))


# --- places ----------------------------------------------------------------------------------------------------------


def test_the_first_place_has_texture_in_both_images(make_field):
    target = make_field(noise(lambda x, y: x > 302000), (400, 400))
    reference = make_field(noise(lambda x, y: y < 5898040), (400, 400))
    places, scores = choose(target, reference)
    # The south-east quarter, by at least a quarter of the window.
    assert places[0][0] > 302000 + 160
    assert places[0][1] < 5898040 - 160
    assert scores[0] == scores.max()


def test_places_are_ranked(make_field):
    image = make_field(noise(lambda x, y: x > 302000), (400, 400))
    places, scores = choose(image, image)
    assert (np.diff(scores) <= 0).all()
    assert len(places) == len(scores) > 100


def test_windows_lie_inside_the_overlap(make_field):
    image = make_field(noise(lambda x, y: x > 0), (400, 400))
    overlap = shapely.box(300500, 5896540, 303500, 5899540)
    places, _ = choose(image, image, overlap=overlap)
    edges = np.concatenate([places - 320, places + 320])
    assert shapely.contains_xy(overlap.buffer(1), edges[:, 0], edges[:, 1]).all()


def test_missing_data_are_avoided(make_field):
    rough = noise(lambda x, y: x > 0)
    image = make_field(lambda x, y: np.where(x < 302000, 0, rough(x, y)), (400, 400), nodata=0)
    places, scores = choose(image, image)
    assert (places[:20, 0] >= 302000 + 300).all()
    assert (scores[places[:, 0] < 302000 - 400] < -1).all()


def test_masked_places_come_last(make_field):
    image = make_field(noise(lambda x, y: x > 0), (400, 400))
    places, scores = choose(image, image, mask=as_mask(shapely.box(300000, 5896040, 301500, 5900040), UTM))
    assert (places[scores >= 0][:, 0] <= 301500).all()
    assert (scores[places[:, 0] > 301500] < 0).all()


def test_the_reference_may_have_another_crs(make_field):
    from xcoreg.georef import transform_points

    target = make_field(noise(lambda x, y: x > 0), (400, 400))
    west, north = transform_points(UTM, "EPSG:4326", np.array([299800.0]), np.array([5900240.0]))
    middle = transform_points(UTM, "EPSG:4326", np.array([302000.0]), np.array([5898040.0]))[0][0]
    grid = Affine(1.5e-4, 0, west[0], 0, -9e-5, north[0])
    reference = make_field(noise(lambda lon, lat: lon > middle), (440, 460), grid, "EPSG:4326")
    places, _ = choose(target, reference)
    assert (places[:10, 0] > 302000 + 100).all()


def test_an_overlap_narrower_than_the_window_has_a_place(make_field):
    image = make_field(noise(lambda x, y: x > 0), (400, 400))
    overlap = shapely.box(301000, 5896040, 301500, 5900040)
    places, _ = choose(image, image, overlap=overlap)
    assert shapely.contains_xy(overlap, places[:, 0], places[:, 1]).all()


# --- spreading -------------------------------------------------------------------------------------------------------


def lattice(n=20, step=20.0):
    x, y = np.meshgrid(np.arange(n) * step, np.arange(n) * step)
    places = np.stack([x.ravel(), y.ravel()], -1)
    return places, np.linspace(1, 0, len(places))


def test_the_best_place_comes_first():
    places, scores = lattice()
    assert spread_out(places, scores, 5, 32)[0] == 0


def test_no_more_than_wanted():
    places, scores = lattice()
    chosen = spread_out(places, scores, 7, 32)
    assert len(chosen) == len(set(chosen.tolist())) == 7


def test_windows_hardly_share_pixels():
    places, scores = lattice()
    chosen = places[spread_out(places, scores, 30, 64)]
    apart = np.abs(chosen[:, None] - chosen[None]).max(2) + 1e9 * np.eye(len(chosen))
    assert apart.min() >= 0.9 * 64


def test_few_windows_stand_far_apart():
    places, scores = lattice()
    chosen = places[spread_out(places, scores, 9, 32)]
    apart = np.abs(chosen[:, None] - chosen[None]).max(2) + 1e9 * np.eye(len(chosen))
    assert apart.min() >= 0.25 * 19 * 20


def test_bad_places_wait_for_the_good_ones():
    places, scores = lattice()
    scores = np.where(places[:, 0] > 190, -0.5, scores)
    order = np.argsort(-scores, kind="stable")
    chosen = spread_out(places[order], scores[order], 4, 32)
    assert (scores[order][chosen] >= 0).all()


def test_places_of_low_score_are_left_out():
    places, scores = lattice()
    scores = np.where(np.arange(len(scores)) < 3, scores, -2.0)
    assert set(spread_out(places, scores, 9, 8).tolist()) <= {0, 1, 2}


def test_there_is_always_one_place():
    places, scores = lattice()
    assert spread_out(places, scores - 5, 9, 32).tolist() == [0]
