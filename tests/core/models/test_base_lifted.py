"""Models with a vertical part."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.models import HorizontalVertical, Translation, choose_heights, fit_model, model_from_dict
from xcoreg.core.models.base import relative_to

X, Y = (part.ravel() for part in np.meshgrid(np.arange(0.0, 900.0, 100.0), np.arange(0.0, 700.0, 100.0)))


@pytest.fixture
def tilted():
    return HorizontalVertical(Translation(3.0, 15.0), fit_model("affine", X, Y, 1.0 + 0.01 * X, 0.0))


def test_a_lifted_model_moves_places_by_one_part_and_heights_by_the_other(tilted):
    dx, dy = tilted.predict([100.0, 200.0], 50.0)
    assert dx.tolist() == [3.0, 3.0]
    assert dy.tolist() == [15.0, 15.0]
    assert tilted.predict_dz([100.0, 200.0], 50.0) == pytest.approx([2.0, 3.0])


def test_its_kind_is_that_of_the_horizontal_part(tilted):
    assert tilted.kind == "translation"
    assert tilted.dz_constant is None
    assert HorizontalVertical(fit_model("affine", X, Y, X, Y), Translation(-2.0, 0.0)).dz_constant == -2.0


def test_it_travels_as_plain_types(tilted):
    again = model_from_dict(tilted.to_dict())
    assert again.to_dict() == tilted.to_dict()
    assert again.predict_dz(10.0, 20.0) == tilted.predict_dz(10.0, 20.0)


@pytest.mark.parametrize("kind", ["translation", "affine", "polynomial2", "spline", "piecewise"])
def test_models_without_a_vertical_part_lift_nothing(kind):
    model = fit_model(kind, X, Y, 1e-3 * X + 1e-6 * X * Y, 2.0)
    assert model.predict_dz([100.0, np.nan], 50.0).tolist()[0] == 0.0
    assert np.isnan(model.predict_dz([100.0, np.nan], 50.0)[1])
    assert model.dz_constant == 0.0


@pytest.mark.parametrize("kind", ["auto", "translation", "affine", "polynomial2", "spline", "piecewise"])
def test_one_quantity_is_fitted_as_two_are(kind):
    rng = np.random.default_rng(3)
    dz = 2.0 + 0.01 * X + rng.normal(0, 0.1, X.size)
    choice = choose_heights(kind, X, Y, dz, np.full(X.size, 0.01))
    error = choice.model.predict(X, Y)[0] - 2.0 - 0.01 * X
    spread = np.sqrt(choice.model.predict_cov(X, Y)[:, 0, 0])
    assert choice.residual_dx.shape == X.shape
    if kind != "translation":
        assert np.sqrt(np.mean(error**2)) < 0.12
        assert 0.2 < np.sqrt(np.mean((error / spread) ** 2)) < 2.0
    if kind == "auto":
        assert choice.model.kind == "affine"


def test_a_wrong_height_counts_for_little():
    dz = np.full(X.size, 2.0) + np.random.default_rng(4).normal(0, 0.1, X.size)
    dz[7] = 90.0
    model = choose_heights("translation", X, Y, dz, np.full(X.size, 0.01)).model
    assert model.dx == pytest.approx(2.0, abs=0.05)


def test_sharp_triangles_go_over_within_a_shorter_distance():
    from dataclasses import replace

    step = np.where(X < 450, 0.0, 4.0)
    linear = fit_model("piecewise", X, Y, step, 0.0)
    sharp = replace(linear, sharp=3.0)
    at = np.array([410.0, 450.0, 490.0])
    # 50 m before and behind the middle of the step, of which the trend has a part.
    flat, steep = (np.diff(model.predict(at, 300.0)[0]) for model in (linear, sharp))
    assert steep.sum() > flat.sum()
    assert sharp.predict(400.0, 300.0)[0] == pytest.approx(linear.predict(400.0, 300.0)[0])
    assert sharp.predict(450.0, 300.0)[0] == pytest.approx(2.0, abs=1e-6)
    assert model_from_dict(sharp.to_dict()) == sharp
    older = {name: value for name, value in linear.to_dict().items() if name != "sharp"}
    assert model_from_dict(older) == linear


def test_a_relative_model_leads_there_and_back():
    own, datum = (fit_model("affine", X, Y, 3.0 + size * X - 2e-3 * Y, size * Y) for size in (1e-3, -2e-3))
    way = relative_to(own, datum)
    dx, dy = way.predict(200.0, 300.0)
    there, back = own.predict(200.0, 300.0), datum.predict(200.0 + dx, 300.0 + dy)
    assert np.stack([dx + back[0], dy + back[1]]) == pytest.approx(np.stack(there), abs=1e-9)
    assert model_from_dict(way.to_dict()) == way
    assert way.extrapolates([5.0, 1e6], 5.0).tolist() == [False, True]


def test_relative_shifts_are_a_shift_again():
    own, datum = Translation(1.0, 2.0, cov=((1, 0), (0, 1))), Translation(0.5, 3.0, cov=((2, 0), (0, 2)))
    assert relative_to(own, datum) == Translation(0.5, -1.0, cov=((3, 0), (0, 3)))
