"""Vertical datums: converted, and warned of where two differ."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from pyproj import CRS

import xcoreg
from xcoreg.errors import OptionError
from xcoreg.simulate import dem_pair


@pytest.fixture(scope="module")
def both():
    return dem_pair((110, 130), shift=(9.0, 3.0, -2.0), seed=4)


@pytest.fixture(scope="module")
def geoid(tmp_path_factory):
    """CRS of heights above a geoid of our own: 43 m at 10 E, half a metre more per degree."""
    path = tmp_path_factory.mktemp("geoid") / "own.gtx"
    rows, cols = np.mgrid[:10, :12]
    heights = (43 + 0.5 * cols + 0.0 * rows).astype(">f4")
    path.write_bytes(struct.pack(">4d2i", 45.0, 10.0, 1.0, 1.0, 10, 12) + heights.tobytes())
    return CRS.from_proj4(f"+proj=utm +zone=33 +datum=WGS84 +geoidgrids={path} +vunits=m +type=crs")


def test_heights_are_converted_by_a_grid_and_back(both, geoid):
    dem = both.tgt.rio.write_crs(geoid)
    high = xcoreg.convert_heights(dem, "ellipsoid")
    rise = (high - dem).values
    assert rise.mean() == pytest.approx(43 + 0.5 * 5.02, abs=0.02)
    assert rise[0, -1] > rise[0, 0]  # the geoid rises to the East
    assert len(CRS(high.rio.crs).axis_info) == 3
    assert np.abs((xcoreg.convert_heights(high, dem) - dem).values).max() < 1e-3


def test_a_number_stands_for_a_geoid_in_any_unit(both):
    feet = both.tgt.assign_attrs(units="ft")
    assert float((xcoreg.convert_heights(feet, "ellipsoid", vertical_datum=30.48) - feet).mean()) == pytest.approx(100)
    whole = both.tgt.round().astype(np.int16).rio.write_nodata(-9999)
    whole[0, 0] = -9999
    done = xcoreg.convert_heights(whole, 0.0, vertical_datum=43.25)
    assert (done.dtype, float(done[0, 0])) == (np.float32, -9999.0)
    assert float((done - whole)[5, 5]) == 43.25


@pytest.mark.parametrize(("to", "own", "reason"), [
    ("ellipsoid", None, "names no vertical datum"), ("EGM2008", "ellipsoid", "not installed"),
    ("sea level", "ellipsoid", "unknown"),
])  # fmt: skip
def test_a_datum_that_is_not_known_is_refused(both, to, own, reason, monkeypatch):
    monkeypatch.setattr("pyproj.transformer.TransformerGroup.best_available", False)
    warnings.simplefilter("ignore")  # pyproj warns of the grid, too
    with pytest.raises(OptionError, match=reason):
        xcoreg.convert_heights(both.tgt, to, vertical_datum=own)


def test_two_datums_are_warned_of_and_one_conversion_ends_it(both, geoid):
    ref, dem = both.ref.rio.write_crs(CRS.from_epsg(32633).to_3d()), both.tgt.rio.write_crs(geoid)
    fit = dem.coreg.match(ref, matcher="nuth_kaab")
    assert "heights of the target are above" in fit.quality.warnings[0]
    assert xcoreg.convert_heights(dem, ref).coreg.match(ref, matcher="nuth_kaab").quality.warnings == ()


def test_an_offset_like_that_of_a_geoid_is_named(both):
    low = both.tgt.copy(data=both.tgt.values - 43)
    fit = low.coreg.match(both.ref, matcher="nuth_kaab")
    assert "between the ellipsoid and a geoid" in fit.quality.warnings[0]
    assert both.tgt.coreg.match(both.ref, matcher="nuth_kaab").quality.warnings == ()
