"""Stacks of dates: the shifts planted in simulated cubes, order and chunks, references, lists, extension, fields."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import xcoreg
from xcoreg import CoregWarning, MatchError, OptionError, Status
from xcoreg.matching import stack as matching
from xcoreg.matching.stack_windows import frame_of
from xcoreg.simulate import cube, smooth_field


@pytest.fixture(scope="module")
def made():
    return cube(6, (160, 160), clouds=0.1, seed=4)


@pytest.fixture(scope="module")
def found(made):
    return made.cube.coreg.match_stack()


def off(stack, shifts):
    """Errors of dates about their mean, px."""
    shifts = np.asarray(shifts)
    known = np.isfinite(stack.shifts_px[:, 0])
    left = stack.shifts_px[known] - shifts[known]
    return left - left.mean(0)


def change(one, other, order=slice(None)):
    moved = np.empty_like(one.shifts_px)
    moved[order] = other.shifts_px
    return float(np.ptp(moved - one.shifts_px, axis=0).max())


def test_every_date_is_placed_within_its_uncertainty(made, found):
    sigma = np.sqrt(np.diagonal(found.covs_px, axis1=1, axis2=2))
    assert found.ok
    assert np.abs(off(found, made.shifts)).max() < 0.03
    assert np.abs(off(found, made.shifts) / sigma).max() < 4
    assert found.shifts_px.mean(0) == pytest.approx(0, abs=1e-9)


def test_neither_order_nor_chunks_nor_datum_matter(made, found):
    backwards = np.arange(6)[::-1]
    assert change(found, xcoreg.match_stack(made.cube[backwards]), backwards) < 1e-9
    assert change(found, xcoreg.match_stack(made.cube.chunk(time=4, y=70, x=160))) < 1e-9
    assert change(found, found.with_datum("2020-03-09")) < 1e-9


def test_a_date_of_another_place_is_refused_and_the_others_go_on():
    made = cube(6, (160, 160), clouds=0, strangers=(3,), seed=2)
    with pytest.warns(CoregWarning, match="1 of 6 dates is not placed: 2020-02-22"):
        stack = xcoreg.match_stack(made.cube)
    assert [one.name for one in stack.refused] == ["2020-02-22"]
    assert np.abs(off(stack, made.shifts)).max() < 0.03
    with pytest.raises(MatchError, match="2020-02-22"):
        xcoreg.match_stack(made.cube, errors="raise")


def test_no_date_without_any_match():
    made = cube(3, (160, 160), clouds=0, strangers=(1,), seed=3).cube
    apart = xr.concat([made[0], made[1]], "time")
    with pytest.raises(MatchError, match="no pair of the 2 dates"):
        xcoreg.match_stack(apart)


def test_a_reference_image_stays_and_large_shifts_are_found(made):
    shifts = made.shifts.copy()
    shifts[2] += (31.0, -24.0)
    images = [_moved(made.cube[at], shifts[at] - made.shifts[at]) for at in range(6)]
    stack = xcoreg.match_stack(images[1:], images[0])
    assert stack.datum == stack.dates[-1].name
    assert stack.shifts_px == pytest.approx(shifts[1:] - shifts[0], abs=0.05)
    assert len(stack.names) == 5


def _moved(image, pixels):
    """The image with its transform moved against the content: the correction grows by so many pixels."""
    affine = image.rio.transform()
    moved = Affine(
        affine.a, affine.b, affine.c - pixels[0] * affine.a, affine.d, affine.e, affine.f - pixels[1] * affine.e
    )
    out = image.drop_vars(("x", "y")).rio.write_transform(moved)
    rows, cols = image.shape
    return out.assign_coords(
        x=moved.c + moved.a * (np.arange(cols) + 0.5), y=moved.f + moved.e * (np.arange(rows) + 0.5)
    )


def test_images_on_other_grids_are_matched_on_a_common_one(made):
    images = [made.cube[at] for at in range(4)]
    images[1] = images[1][8:154, 5:146]
    images[2] = _moved(images[2], (0.3, 0.7))
    stack = xcoreg.match_stack(images)
    wanted = made.shifts[:4].copy()
    wanted[2] += (0.3, 0.7)
    assert np.abs(off(stack, wanted)).max() < 0.03
    assert [one.shape for one in stack.dates] == [(160, 160), (146, 141), (160, 160), (160, 160)]


def test_a_list_in_two_crs_has_corrections_in_each(made):
    images = [made.cube[at] for at in range(4)]
    images[3] = images[3].rio.reproject("EPSG:32632", resolution=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoregWarning)
        stack = xcoreg.match_stack(images)
    assert np.abs(off(stack, made.shifts[:4])).max() < 0.1
    assert stack.fit(3).grid.crs.epsg == 32632
    turned = stack.fit(3).shift
    assert np.hypot(turned.dx, turned.dy) == pytest.approx(np.hypot(*stack.shifts[3]), rel=0.01)


def test_new_dates_are_added_without_matching_the_old_ones(made, monkeypatch):
    short = xcoreg.match_stack(made.cube[:4])
    matched = []
    plain = matching._match
    monkeypatch.setattr(matching, "_match", lambda *a: matched.extend(a[2]) or plain(*a))
    longer = made.cube.coreg.extend_stack(short)
    assert all(max(pair) >= 4 for pair in matched)
    assert len(matched)
    assert len(longer.names) == 6
    assert np.abs(off(longer, made.shifts)).max() < 0.03
    assert set(longer.datum_dates) == set(short.names)  # old corrections do not jump
    assert np.abs(longer.shifts_px[:4] - short.shifts_px).max() < 0.02


def test_a_stack_is_not_extended_by_strangers_alone(made, found):
    with pytest.raises(OptionError, match="none of the images is a date of the stack"):
        made.cube[:2].assign_coords(time=made.cube.time[:2] + np.timedelta64(999, "D")).coreg.extend_stack(found)


def test_matches_grow_with_the_number_of_dates_not_with_its_square():
    long = cube(16, (96, 96), clouds=0, snr_db=30, seed=5).cube
    stack = xcoreg.match_stack(long, partners=4, window=32)
    assert 16 * 2 <= len(stack.pairs) <= 16 * 5
    assert stack.ok


def test_the_budget_of_pairs_is_kept(made):
    assert len(xcoreg.match_stack(made.cube, max_pairs=9).pairs) == 9
    assert len(xcoreg.match_stack(made.cube[:4], pairs="all").pairs) == 6
    with pytest.warns(CoregWarning, match="nothing checks"):
        named = xcoreg.match_stack(made.cube[:3], pairs=[("2020-01-05", "2020-01-21"), (1, 2)])
    assert len(named.pairs) == 2


def test_masks_are_those_of_their_dates(made):
    stack = xcoreg.match_stack(made.cube, where=~made.clouds)
    assert np.abs(off(stack, made.shifts)).max() < 0.02
    nothing = made.clouds.copy(data=np.zeros_like(made.clouds.values))
    nothing[1:] = True
    with pytest.warns(CoregWarning, match="2020-01-05"):
        left = xcoreg.match_stack(made.cube, where=nothing)
    assert left.dates[0].status is Status.NO_DATA


def test_each_window_of_a_date_is_read_once(made):
    reads = []

    def read(block):
        reads.append(block.size)
        return block

    blocks = made.cube.chunk(time=1).data.map_blocks(read, dtype=made.cube.dtype, meta=made.cube.data[:0])
    xcoreg.match_stack(made.cube.copy(data=blocks))
    assert reads == [160 * 160] * 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pairs": "some"}, "pairs"),
        ({"pairs": [(0, 99)]}, "pairs"),
        ({"partner": 3}, "partners"),
        ({"max_pairs": 0}, "max_pairs"),
        ({"window": 4}, "window"),
        ({"max_shift": -1}, "max_shift"),
        ({"contrast": "none"}, "contrast"),
        ({"errors": "ignore"}, "errors"),
        ({"spacing": 10}, "spacing"),
        ({"where": [None]}, "where"),
        ({"window": 400}, "do not fit"),
    ],
)
def test_options_are_checked(made, options, words):
    with pytest.raises(OptionError, match=words):
        xcoreg.match_stack(made.cube, **options)


def test_a_reference_may_name_a_date(made, found):
    named = xcoreg.match_stack(made.cube[:3], "2020-01-21")
    assert named.datum == "2020-01-21"
    assert named.shifts[1].tolist() == [0, 0]
    assert xcoreg.match_stack(made.cube[:3], np.datetime64("2020-01-21")) == named
    assert xcoreg.match_stack(made.cube[:3], 1) == named


def test_one_image_is_no_stack(made):
    with pytest.raises(OptionError, match="one image"):
        xcoreg.match_stack(made.cube[0].drop_vars("time"))
    with pytest.raises(OptionError, match="at least two"):
        xcoreg.match_stack(made.cube[:1])


@pytest.mark.parametrize("verb", ["match", "shift_to", "warp_to", "match_local"])
def test_verbs_for_pairs_name_that_for_stacks(made, verb):
    with pytest.raises(OptionError, match="match_stack"):
        getattr(made.cube.coreg, verb)(made.cube[0])


def test_windows_cover_the_frame_whatever_the_order():
    grids = [cube(2, (100, 140), seed=1).cube.coreg.grid, cube(2, (300, 280), seed=1).cube.coreg.grid]
    one, two = frame_of(grids, None, None), frame_of(grids[::-1], None, None)
    assert one.grid == two.grid
    assert (one.places == two.places).all()
    ends = one.places + one.size + one.margin
    assert (one.places >= one.margin).all()
    assert (ends <= np.array(one.grid.shape[::-1])).all()


def test_a_field_for_every_date():
    made = cube(4, (288, 288), shifts=0.0, clouds=0, snr_db=30, season=0.1, seed=3).cube
    field = smooth_field((288, 288), 1.5, seed=2)
    bent = made.copy()
    from scipy import ndimage

    rows, cols = np.indices((288, 288)).astype(float)
    dcol, drow = field(rows, cols)
    bent[2] = ndimage.map_coordinates(made[2].values.astype(float), [rows + drow, cols + dcol], order=5, mode="nearest")
    stack = bent.coreg.match_stack_local(datum="2020-01-05", window=64, spacing=32, partners=4)
    x, y = bent.x.values[60:230:20], bent.y.values[60:230:20]
    found = stack.fields[2]
    dx, dy = found.model.predict(*(part.ravel() for part in np.meshgrid(x, y)))
    wanted = [part[np.ix_(range(60, 230, 20), range(60, 230, 20))].ravel() for part in (dcol, drow)]
    assert np.sqrt(np.mean((dx / 10 - wanted[0]) ** 2)) < 0.12
    assert np.sqrt(np.mean((-dy / 10 - wanted[1]) ** 2)) < 0.12
    flat = stack.fields[3].model.predict(bent.x.values[144], bent.y.values[144])
    assert np.abs(flat).max() < 1.0  # 0.1 px
    with pytest.warns(xcoreg.Extrapolation):  # the rim of half a window
        assert bent.coreg.apply(stack).sizes == bent.sizes


def test_a_dictionary_names_the_dates(made, found):
    images = {str(time)[:10]: made.cube.isel(time=at, drop=True) for at, time in enumerate(made.cube.time.values)}
    stack = xcoreg.match_stack(images)
    assert stack.names == tuple(images)
    np.testing.assert_allclose(stack.shifts_px, found.shifts_px, atol=1e-9)
    fixed = xcoreg.apply(images, stack)
    assert list(fixed) == list(images)
    assert float(fixed["2020-01-21"].x[0] - images["2020-01-21"].x[0]) == pytest.approx(stack.dates[1].dx)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("2020-01-2", "did you mean '2020-01-21'"),
        ("no.tif", "nor a file"),
        (9, "none of the 6 dates"),
        (True, "none of"),
    ],
)
def test_a_mistyped_reference_names_the_dates(made, reference, message):
    with pytest.raises(OptionError, match=message):
        xcoreg.match_stack(made.cube, reference)


def test_a_generator_of_images_is_read_once(made):
    images = (made.cube.isel(time=at) for at in range(3))
    assert xcoreg.match_stack(images, 1).datum == "2020-01-21"


def test_images_far_apart_are_refused_before_windows_between_them_are_made(made):
    images = [made.cube.isel(time=at, drop=True) for at in range(3)]
    for far in (1e7, 1e13):
        moved = images[1].drop_vars("spatial_ref").assign_coords(x=images[1].x + far).rio.write_crs(images[1].rio.crs)
        with pytest.raises(OptionError, match=r"image 1 is .* px from the middle"):
            xcoreg.match_stack([images[0], moved, images[2]])


@pytest.mark.parametrize("pairs", [[5], [1.5, 2], [(0, "x")], [(0, 1, 2)], ["ab"], [(0, True)]])
def test_pairs_that_are_none_are_refused(made, pairs):
    with pytest.raises(OptionError, match="pairs"):
        xcoreg.match_stack(made.cube, pairs=pairs)


@pytest.mark.parametrize(
    "change",
    [
        {"options": "x"},
        {"versions": 5},
        {"datum": [1]},
        {"quality": {"factors": [["a", 1.0]]}},
        {"quality": {"warnings": [[]]}},
        {"reference_sigma": "x"},
        {"kinds": [5]},
        {"dates": [{"name": "a", "status": "OK", "cov": [[1, 0], [0, 1]], "time": "<script>"}]},
        {"dates": [{"name": "a", "status": "OK", "cov": [[1, 0], [0, 1]], "n_pairs": "1"}]},
    ],
)
def test_a_damaged_stack_file_is_refused_when_it_is_read(found, tmp_path, change):
    tree = found.to_dict()
    for key, value in change.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) else value
    (tmp_path / "stack.json").write_text(json.dumps(tree))
    with pytest.raises(OptionError, match="damaged stack"):
        xcoreg.load_stack(tmp_path / "stack.json").summary()


def test_a_date_that_small_windows_do_not_see_is_found_between_its_clouds():
    made = cube(6, (120, 120), clouds=[0, 0, 0.1, 0.1, 0.2, 0.6], snr_db=14, season=0.2, seed=3)
    stack = made.cube.coreg.match_stack()
    assert stack.ok
    assert np.abs(off(stack, made.shifts)[5]).max() < 3 * np.sqrt(stack.covs_px[5, 0, 0])
    own = stack.pairs_dataframe().query("target == @stack.names[5]")
    assert own.accepted.sum() >= 2
    assert (own.n_windows[own.accepted] == 1).all()
