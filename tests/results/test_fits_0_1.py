"""Fit files that xcoreg 0.1.0 wrote: they are read for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xcoreg
from xcoreg.errors import MatchError

FILES = Path(__file__).parent / "fits_0_1"


def load(name):
    return xcoreg.load_fit(FILES / f"{name}.json")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("single", "col +1.249706, row -0.500607 target px (± 0.0007, 0.0007)"),
        ("single", "centre x 301440, y 5899280; 128 x 128 px"),
        ("single", "col +1.249706, row -0.500607 reference px"),
        ("field", "smoothing spline, the simplest within one standard error of the best of 6"),
        ("field", "0.457 before, 0.027 after"),
        ("dem", "dx=+9.21±0.14 m, dy=+2.97±0.17 m, dz=-1.822±0.079"),
        ("refused", "TOO_FAR, the best shift is beyond max_shift"),
    ],
)
def test_the_summary_has_the_numbers_of_old(name, line):
    assert line in load(name).summary()


def test_everything_that_was_recorded_is_there():
    details = load("field").details
    assert details.options == {"band": 1, "window": 48, "spacing": 32}
    assert (details.tgt_nodata, details.ref_nodata) == (0, 0)
    assert details.ref_grid == xcoreg.simulate.pair((256, 256), seed=1).ref.coreg.grid
    assert len(details.interim.tgt_corners) == 4
    assert details.interim.linear == (10.0, 0.0, 0.0, -10.0)
    assert [model.kind for model in details.assessment.models if model.chosen] == ["spline"]
    assert details.assessment.check.dx.size == 49
    assert load("dem").details.elevation.powers == ((0, 0),)


@pytest.mark.parametrize("name", ["single", "field", "dem", "refused"])
def test_a_fit_of_old_is_written_in_the_new_format(name, tmp_path):
    fit = load(name)
    fit.save(tmp_path / "new.json")
    assert xcoreg.load_fit(tmp_path / "new.json") == fit


def test_one_shift_is_applied():
    scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
    fixed = scene.tgt.coreg.apply(load("single"), align_grid=True)
    assert fixed.coreg.grid.affine.c % 10 == 0
    inner = (slice(20, -20),) * 2
    like = scene.tgt.coreg.apply(load("single"), like=scene.ref).values[inner].astype(float)
    assert np.corrcoef(like.ravel(), scene.ref.values[inner].ravel())[0, 1] > 0.98


def test_a_field_is_applied():
    field = xcoreg.simulate.smooth_field((256, 256), 1.5, seed=2)
    scene = xcoreg.simulate.pair((256, 256), shift=field, seed=1)
    old = scene.tgt.coreg.apply(load("field")).astype(float)
    new = scene.tgt.coreg.warp_to(scene.ref, spacing=32, window=48, band=1).astype(float)
    # The matching is a little better now, and windows lie a pixel beside where they did.
    assert float(abs(old - new).max()) < 0.12 * float(new.std())
    assert float(abs(old - new).median()) < 0.01 * float(new.std())


def test_heights_are_applied():
    scene = xcoreg.simulate.dem_pair((120, 120), seed=3)
    fixed = scene.tgt.coreg.apply(load("dem"))
    assert float(np.nanmedian(fixed.values - scene.tgt.values)) == pytest.approx(-1.822, abs=1e-3)


def test_a_refused_fit_is_refused():
    scene = xcoreg.simulate.dem_pair((120, 120), seed=3)
    with pytest.raises(MatchError, match="max_shift"):
        scene.tgt.coreg.apply(load("refused"))
