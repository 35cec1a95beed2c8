import numpy as np
import pytest
from xarray import DataArray

import xcoreg
from xcoreg.coregister import apply, georeference, match, match_local
from xcoreg.errors import MatchError, OptionError
from xcoreg.matching.choice import with_bands
from xcoreg.matching.options import check_options
from xcoreg.simulate import Acquisition, pair, similarity

SHAPE = (420, 420)
TURN = similarity(SHAPE, degrees=25.0, scale=1.15, shift=(40.0, -30.0))


def rmse_px(fit, truth):
    """Error of a model over the image, target px."""
    rows, cols = np.mgrid[0 : SHAPE[0] : 20, 0 : SHAPE[1] : 20].astype(float)
    x, y = fit.grid.affine @ (cols + 0.5, rows + 0.5)
    dx, dy = fit.model.predict(x, y)
    dcol, drow = truth(rows, cols)
    return np.sqrt(np.mean((dx / 10 - dcol) ** 2 + (-dy / 10 - drow) ** 2))


@pytest.fixture(scope="module")
def images():
    return pair(SHAPE, shift=TURN, snr_db=20, seed=1)


@pytest.fixture(scope="module")
def fit(images):
    return match(images.tgt, images.ref, geometry="similarity")


def test_rotation_scale_and_shift_are_measured(fit):
    assert fit.model.kind == "affine"
    assert rmse_px(fit, TURN) < 0.03
    assert fit.quality.chance < 1e-6
    assert fit.quality.rmse_after < 0.05


def test_the_transform_alone_corrects(images, fit):
    fixed = apply(images.tgt, fit)
    assert fixed.coreg.grid.affine == fit.moved_transform
    np.testing.assert_array_equal(fixed.values, images.tgt.values)
    rest = match(fixed, images.ref)
    assert np.hypot(rest.shift.dcol, rest.shift.drow) < 0.02


def test_one_interpolation_puts_it_on_the_grid_of_the_reference(images, fit):
    fixed = apply(images.tgt, fit, like=images.ref)
    assert fixed.coreg.grid == images.ref.coreg.grid
    rest = match(fixed, images.ref)
    assert np.hypot(rest.shift.dcol, rest.shift.drow) < 0.02


def test_aligned_pixels_have_the_axes_of_the_reference(images, fit):
    grid = apply(images.tgt, fit, align_grid=True).coreg.grid
    assert (grid.affine.b, grid.affine.d) == (0.0, 0.0)
    assert grid.affine.a == pytest.approx(11.5, rel=1e-3)


def test_auto_takes_a_shift_where_that_is_enough():
    both = pair((300, 300), shift=(0.7, -1.2), seed=3)
    found, plain = match(both.tgt, both.ref, geometry="auto"), match(both.tgt, both.ref)
    assert (found.model, found.points) == (plain.model, plain.points)


def test_auto_goes_on_where_a_shift_is_not(images):
    found = match(images.tgt, images.ref, geometry="auto")
    assert found.model.kind == "affine"
    assert rmse_px(found, TURN) < 0.03


def test_a_refusal_names_the_option():
    turn = similarity(SHAPE, degrees=1.5)
    both = pair(SHAPE, shift=turn, seed=2)
    with pytest.raises(MatchError, match="geometry='auto'"):
        match(both.tgt, both.ref)


def test_other_places_are_refused():
    both = pair((140, 140), shift=None, seed=4)
    assert not match(both.tgt, both.ref, geometry="similarity", errors="return").ok


def test_windows_of_a_field_are_cut_along_it():
    turn = similarity(SHAPE, degrees=2.0, scale=1.02, shift=(1.0, 2.0))
    both = pair(SHAPE, shift=turn, snr_db=20, seed=5)
    found = match_local(both.tgt, both.ref, window=64, spacing=60)
    good = found.points.take(found.points.ok)
    col, row = ~found.grid.affine @ (good.x, good.y)
    off = np.stack([good.dcol, good.drow], -1) - np.stack(turn(row - 0.5, col - 0.5), -1)
    assert len(good) > 25
    assert np.sqrt((off**2).mean()) < 0.012


def test_a_field_at_any_rotation(images):
    found = match_local(images.tgt, images.ref, window=64, spacing=60, geometry="auto")
    assert rmse_px(found, TURN) < 0.03
    assert not found.moves_transform


def test_a_photo_without_a_place_is_georeferenced(images):
    photo = DataArray(images.tgt.values.squeeze(), dims=("y", "x"))
    placed, found = georeference(photo, images.ref)
    assert found.ok
    rest = match(placed, images.ref)
    assert np.hypot(rest.shift.dx, rest.shift.dy) < 0.3


@pytest.mark.parametrize("more", [{"at": (1.0, 2.0)}, {"max_shift": 3.0}, {"matcher": "nuth_kaab"}])
def test_options_of_one_shift_do_not_go_with_a_geometry(more):
    with pytest.raises(OptionError, match="geometry="):
        check_options({"geometry": "affine", **more})


def test_an_unknown_geometry_is_refused():
    with pytest.raises(OptionError, match="choose from shift, similarity, affine, homography, auto"):
        check_options({"geometry": "rotation"})


def test_the_bands_that_match_are_chosen():
    both, other = pair((260, 260), shift=(1.3, -0.6), seed=6), pair((260, 260), shift=None, seed=7)
    tgt = DataArray(np.stack([other.tgt.values.squeeze(), both.tgt.values.squeeze()]), dims=("band", "y", "x"))
    tgt = tgt.assign_coords(band=[1, 2], **{d: both.tgt[d] for d in ("y", "x")}).rio.write_crs(both.tgt.rio.crs)
    chosen = with_bands(tgt, both.ref, check_options({"band": "auto"}))
    assert (chosen.band, chosen.ref_band) == (2, None)
    found = xcoreg.match(tgt, both.ref, band="auto")
    assert (found.shift.dcol, found.shift.drow) == pytest.approx((1.3, -0.6), abs=0.05)


def test_edges_answer_where_intensities_find_nothing():
    both = pair((300, 300), shift=(1.7, -2.2), seed=1, tgt=Acquisition(gain=-1.0))
    found = match(both.tgt, both.ref)
    assert (found.shift.dcol, found.shift.drow) == pytest.approx((1.7, -2.2), abs=0.1)
    assert "matched by edges" in " ".join(found.quality.warnings)
    assert found.details.options["matcher"] == "structure"
    assert not match(both.tgt, both.ref, matcher="phase", errors="return").ok
