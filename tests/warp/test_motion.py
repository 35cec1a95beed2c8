"""Fits as matrices, inverted, and one after the other."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg.core.dem.rigid import rotation_of
from xcoreg.errors import OptionError
from xcoreg.simulate import DemNoise, dem_pair

PLACE = np.array([501000.0, 5399000.0, 300.0])


@pytest.fixture(scope="module")
def both():
    return dem_pair((150, 180), shift=(9.0, 3.0, -2.0), noise=DemNoise(0.3, 0.0, 5.0, 0.0), seed=21)


def moved(fit, place):
    """Apply a fit to one place of known height."""
    model = fit.model
    if hasattr(model, "correction"):
        return place + np.array(model.correction(*place))
    return place + np.array([*model.predict(*place[:2]), model.predict_dz(*place[:2])])


@pytest.fixture(scope="module")
def turned(both):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation_of(np.radians([0.1, -0.2, 0.5])), (4.0, -6.0, 1.5)
    return xcoreg.fit_from_matrix(matrix, both.tgt, (501500.0, 5398500.0, 250.0)), matrix


def test_a_matrix_comes_back_with_its_centroid(turned):
    fit, matrix = turned
    assert np.allclose(fit.to_matrix()[0], matrix)
    centre = fit.to_matrix()[1]
    assert centre.tolist() == [501500.0, 5398500.0, 250.0]
    assert np.allclose(moved(fit, PLACE), matrix[:3, :3] @ (PLACE - centre) + matrix[:3, 3] + centre)


def test_a_shift_goes_through_a_matrix(both):
    fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab")
    again = xcoreg.fit_from_matrix(*[fit.to_matrix()[0], both.tgt], centroid=fit.to_matrix()[1])
    assert again.model.kind == "translation"
    assert (again.shift.dx, again.shift.dz) == pytest.approx((fit.shift.dx, fit.shift.dz))
    assert both.tgt.coreg.apply(again).equals(both.tgt.coreg.apply(fit))


@pytest.mark.parametrize("matcher", ["nuth_kaab", "rigid", ["nuth_kaab", "deramp"]])
def test_a_fit_and_its_inverse_change_nothing(both, matcher):
    fit = both.tgt.coreg.match(both.ref, matcher=matcher)
    assert np.allclose(moved(fit.inverse(), moved(fit, PLACE)), PLACE, atol=1e-6)
    assert fit.inverse().shift.dx == -fit.shift.dx


def test_fits_follow_each_other_in_order(both, turned):
    shift = both.tgt.coreg.match(both.ref, matcher="nuth_kaab")
    for first, second in ((shift, turned[0]), (turned[0], shift), (turned[0], turned[0])):
        assert np.allclose(moved(first.then(second), PLACE), moved(second, moved(first, PLACE)), atol=1e-6)
    assert turned[0].then(turned[0].inverse()).model.kind == "translation"


def test_uncertainties_of_a_sequence_add_up(both):
    fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab")
    assert fit.then(fit).shift.sigma[0] == pytest.approx(np.sqrt(2) * fit.shift.sigma[0])


def test_what_varies_otherwise_has_no_matrix(both):
    field = both.tgt.coreg.match(both.ref, matcher=["nuth_kaab", "deramp"])
    with pytest.raises(OptionError, match="has no matrix"):
        field.to_matrix()
    with pytest.raises(OptionError, match="rotation times"):
        xcoreg.fit_from_matrix(np.diag([1.0, 2.0, 1.0, 1.0]), both.tgt)
    degrees = xcoreg.fit_from_matrix(np.eye(4), both.tgt.rio.reproject("EPSG:4326"))
    with pytest.raises(OptionError, match="two CRSs"):
        both.tgt.coreg.match(both.ref, matcher="nuth_kaab").then(degrees)
