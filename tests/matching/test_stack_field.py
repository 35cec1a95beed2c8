"""Fields of stacks: another datum, other CRSs, a reference image, and what their windows share."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg import CoregWarning
from xcoreg.simulate import cube

OPTIONS = {"window": 48, "spacing": 36, "partners": 3}


@pytest.fixture(scope="module")
def images():
    return cube(4, (160, 160), clouds=0, snr_db=20, seed=4).cube


@pytest.fixture(scope="module")
def stack(images):
    return xcoreg.match_stack_local(images, model="affine", **OPTIONS)


def moves(fields, places):
    """Corrections (n, 2, k), px, of each date at its own places (n, 2, k)."""
    return np.array([np.stack(one.model.predict(*at)) / 10 for one, at in zip(fields, places, strict=True)])


def at_ground(fields, image):
    """Where the same ground is in each date: (n, 2, k)."""
    ground = np.stack([part.ravel() for part in np.meshgrid(image.x.values[30:140:50], image.y.values[30:140:50])])
    places = np.repeat(ground[None], len(fields), axis=0)
    for _ in range(15):
        places = ground - 10 * moves(fields, places)
    return places


def test_relative_fields_of_the_same_ground_do_not_depend_on_the_datum(images, stack):
    other = xcoreg.match_stack_local(images, datum=1, model="affine", **OPTIONS)
    places = at_ground(stack.fields, images)
    change = moves(stack.fields, places) - moves(other.fields, places)
    assert np.abs(change - change.mean(0)).max() < 1e-9
    still = other.fields[1]
    assert still.model.predict(*places[1])[0].tolist() == [0.0] * 9
    assert still.shift.cov == ((0.0, 0.0), (0.0, 0.0))
    assert other.fields[0].model.kind == "relative"
    wider = [float(np.trace(one.fields[0].model.predict_cov(*places[0, :, 4]))) for one in (stack, other)]
    assert wider[0] < wider[1] < 4 * wider[0]


def test_a_relative_field_is_written_read_and_applied(images, tmp_path):
    stack = xcoreg.match_stack_local(images, datum=1, model="affine", **OPTIONS)
    stack.save(tmp_path / "stack.json")
    again = xcoreg.load_stack(tmp_path / "stack.json")
    assert again == stack
    assert "less that of the date that stays" in again.fields[0].summary()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoregWarning)
        fixed = images.coreg.apply(again)
        assert np.abs(xcoreg.match_stack(fixed, datum=1).shifts_px).max() < 0.05


def test_a_field_that_is_one_shift_is_no_surer_than_that_of_its_date(images):
    stack = xcoreg.match_stack_local(images, model="translation", **OPTIONS)
    for one, date in zip(stack.fields, stack.dates, strict=True):
        assert np.trace(one.shift.cov) > 0.99 * np.trace(date.cov)


def test_a_reference_image_stays_and_gives_its_uncertainty(images):
    fields = xcoreg.match_stack_local(images[1:], images[0], reference_sigma=0.5, model="translation", **OPTIONS).fields
    assert len(fields) == 4
    assert fields[3] is None
    shift = images[1].coreg.match(images[0]).shift
    assert np.hypot(fields[0].shift.dx - shift.dx, fields[0].shift.dy - shift.dy) < 0.5
    assert fields[0].shift.cov[0][0] > 5.0**2


def test_dates_in_another_crs_have_tie_points_and_covariances_of_theirs(images):
    other = images[3].rio.reproject("EPSG:4326")
    given: list[xr.DataArray] = [images[0], images[1], images[2], other]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoregWarning)
        plain, named = (xcoreg.match_stack_local(given, datum=datum, **OPTIONS) for datum in ("mean", 0))
    for stack in (plain, named):
        own, here = stack.fields[3], stack.fields[2]
        sigma = [float(np.sqrt(np.median(one.points.cov[one.points.ok][:, 1, 1]))) for one in (own, here)]
        assert 0.3 < sigma[0] * 111e3 / sigma[1] < 4  # degrees, metres; the image was resampled
    shift = given[3].coreg.match(given[0]).shift
    assert named.fields[3].shift.dy == pytest.approx(shift.dy, abs=0.5 / 111e3)


@pytest.mark.parametrize("model", ["lines", "plane", 3])
def test_a_model_that_is_none_is_refused_before_anything_is_matched(images, model):
    with pytest.raises(xcoreg.OptionError, match="choose from auto, translation"):
        xcoreg.match_stack_local(images, model=model)
