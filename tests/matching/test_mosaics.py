"""`match_local` between elevation models that are mosaics: a region for each tile, nothing else where there is none."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg.errors import CoregWarning
from xcoreg.simulate import DemNoise, Mosaic, dem_pair

BLOCKS = {"matcher": "nuth_kaab", "spacing": 50, "window": 50}
TILES = Mosaic((1, 2), (12.0, 12.0, 3.0), (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def both():
    return dem_pair((200, 240), shift=(9.0, 4.0, -2.0), mosaic=TILES, seed=3)


@pytest.fixture(scope="module")
def fit(both):
    return both.tgt.coreg.match_local(both.ref, **BLOCKS)


def test_each_tile_has_its_correction(fit, both):
    x, y = np.meshgrid(both.tgt.x, both.tgt.y)
    found = np.stack([*fit.model.predict(x, y), fit.model.predict_dz(x, y)])
    assert fit.model.kind == "regions"
    assert len(fit.model.values) == 2
    wrong = np.abs(found - both.field) > np.array([0.8, 0.8, 0.3])[:, None, None]
    assert wrong.any(0).mean() < 0.01
    off = (found - both.field)[:, 10, [10, -10]].T
    assert all(part @ np.linalg.solve(cov, part) < 16 for part, cov in zip(off, fit.model.covs, strict=True))


def test_heights_agree_once_it_is_applied(fit, both):
    with pytest.warns(CoregWarning, match="jumps at the seams"):
        fixed = both.tgt.coreg.apply(fit, like=both.ref)
    rest = (fixed - both.ref).values[10:-10, 10:-10]
    assert np.isfinite(rest).all()
    assert 1.4826 * np.median(np.abs(rest)) < 1.2
    # Interpolation mixes both sides in the two columns beside the seam.
    assert (np.abs(np.median(rest, axis=0)) > 0.8).sum() <= 2


def test_it_says_why_regions_were_chosen(fit):
    assert "regions, which leave less of the heights than" in fit.summary()
    assert fit.quality.n_check == 20
    assert fit.quality.rmse_after < 0.6 * fit.quality.rmse_before


def test_regions_are_saved_and_shown(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    again = xcoreg.load_fit(tmp_path / "fit.json")
    assert again == fit
    assert np.isnan(again.model.predict(np.nan, 0.0)).all()
    assert again.model.predict_cov([500000.0, np.nan], 0.0).shape == (2, 2, 2)
    assert "regions=2" in repr(again.model)


def test_lines_are_placed_by_the_shift_of_either_side():
    """One shift for both sides explains neither: steps of three pixels, hardly any in height."""
    step = Mosaic((1, 2), (40.0, 40.0, 0.3), (0.0, 0.0, 0.0))
    pair = dem_pair((200, 240), mosaic=step, seed=5)
    fit = pair.tgt.coreg.match_local(pair.ref, **BLOCKS)
    found = np.stack(fit.model.predict(*np.meshgrid(pair.tgt.x, pair.tgt.y)))
    assert np.hypot(*np.ptp(pair.field[:2], axis=(1, 2))) > 40
    assert (np.abs(found - pair.field[:2]).max(0) > 1).mean() < 0.003


def test_smooth_errors_and_changes_are_no_mosaic():
    pair = dem_pair((200, 240), shift=(9.0, 4.0, -2.0), noise=DemNoise(0.3, 1.0, 15.0), glaciers=0.1, seed=4)
    assert pair.tgt.coreg.match_local(pair.ref, **BLOCKS).model.kind != "regions"
