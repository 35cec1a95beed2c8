"""Heights in feet and in metres: converted or refused by name, never one taken for the other."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest

from xcoreg.coregister import match, match_local
from xcoreg.errors import OptionError
from xcoreg.matching.points import compare_points
from xcoreg.raster.bands import height_unit
from xcoreg.raster.georeference import parse_unit
from xcoreg.results.coregistration import Coregistration
from xcoreg.simulate.terrain import dem_pair

FOOT, SURVEY = 0.3048, 1200 / 3937


@pytest.fixture(scope="module")
def pair():
    return dem_pair((200, 200), shift=(9.0, -4.0, -2.0), seed=1)


def in_unit(image, metres, unit):
    return (image / metres).assign_attrs(**({} if unit is None else {"units": unit}))


@pytest.mark.parametrize(
    ("text", "name", "metres"),
    [
        ("m", "m", 1), ("metre", "m", 1), ("Meters", "m", 1), ("m a.s.l.", "m", 1), ("metres above sea level", "m", 1),
        ("ft", "ft", FOOT), ("foot", "ft", FOOT), ("Feet", "ft", FOOT), ("international foot", "ft", FOOT),
        ("US survey foot", "ftUS", SURVEY), ("us-ft", "ftUS", SURVEY), ("US_survey_foot", "ftUS", SURVEY),
        ("ftUS", "ftUS", SURVEY), ("foot_us", "ftUS", SURVEY), ("cm", "cm", 0.01), ("dm", "dm", 0.1),
        ("m/s", "m/s", None), ("m2", "m2", None), ("dB", "dB", None), (None, "", None), ("1", "1", None),
    ],
)  # fmt: skip
def test_units_are_read_in_any_spelling(text, name, metres):
    unit = parse_unit(text)
    assert (unit.name, unit.metres) == (name, metres)


def test_the_band_outweighs_the_vertical_crs(pair):
    image = pair.tgt.rio.write_crs("EPSG:32633+6360")
    assert height_unit(image, image.coreg.grid.crs.proj).name == "ftUS"
    assert height_unit(image.assign_attrs(units="m"), image.coreg.grid.crs.proj).name == "m"


UNITS = [(FOOT, "ft", 1, "m"), (SURVEY, "US survey foot", FOOT, "ft"), (1, "m", FOOT, "foot"), (FOOT, "ft", FOOT, "ft"),
         (0.01, "cm", 1, "metre"), (1, None, 1, "m"), (1, "m", 1, None), (1, None, 1, None)]  # fmt: skip


@pytest.mark.parametrize("matcher", ["nuth_kaab", "vertical"])
@pytest.mark.parametrize(("tgt_metres", "tgt_unit", "ref_metres", "ref_unit"), UNITS)
def test_the_correction_is_in_the_unit_of_the_target(pair, tgt_metres, tgt_unit, ref_metres, ref_unit, matcher):
    tgt, ref = in_unit(pair.tgt, tgt_metres, tgt_unit), in_unit(pair.ref, ref_metres, ref_unit)
    fit, plain = match(tgt, ref, matcher=matcher), match(pair.tgt, pair.ref, matcher=matcher)
    assert fit.shift.dz * tgt_metres == pytest.approx(plain.shift.dz, rel=1e-3)
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((plain.shift.dx, plain.shift.dy), abs=0.02)
    name = parse_unit(tgt_unit).name or ("m" if ref_unit else "")
    assert (fit.shift.unit_z, fit.details.heights.unit) == (name, name)
    assert Coregistration.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit
    assert (f" {name}" if name else "dz=") in str(fit.shift).partition("dz=")[2] + "dz="


def test_a_vertical_crs_is_enough(pair):
    tgt = in_unit(pair.tgt, SURVEY, None).rio.write_crs("EPSG:32633+6360")
    fit = match(tgt, pair.ref.assign_attrs(units="m"), matcher="nuth_kaab")
    assert fit.shift.dz * SURVEY == pytest.approx(match(pair.tgt, pair.ref, matcher="nuth_kaab").shift.dz, rel=1e-3)
    assert fit.shift.unit_z == "ftUS"


@pytest.mark.parametrize(("tgt_unit", "ref_unit"), [("ft", None), (None, "ft"), ("dB", "m"), ("m", "DN"), ("dB", None)])
def test_what_cannot_be_compared_is_refused_by_name(pair, tgt_unit, ref_unit):
    tgt, ref = in_unit(pair.tgt, 1, tgt_unit), in_unit(pair.ref, 1, ref_unit)
    with pytest.raises(OptionError, match=r"heights of the target: in .*those of the reference: in .*name the unit"):
        match(tgt, ref, matcher="nuth_kaab")


def test_blocks_are_in_the_unit_of_the_target(pair):
    tgt, ref = in_unit(pair.tgt, FOOT, "ft"), pair.ref.assign_attrs(units="m")
    fit = match_local(tgt, ref, matcher="nuth_kaab", spacing=60, window=60)
    assert np.median(fit.points.dz[fit.points.ok]) * FOOT == pytest.approx(-2, abs=0.2)
    assert fit.shift.unit_z == "ft"
    assert "ft" in fit.summary()


def test_images_that_are_no_elevation_models_may_have_any_unit(pair):
    assert match(in_unit(pair.tgt, 1, "dB"), in_unit(pair.ref, 1, "m")).shift.unit_z == ""


def test_numbers_that_are_stored_scaled_are_heights_all_the_same(pair):
    tgt = ((pair.tgt - 5) * 10).round().astype("int32").assign_attrs(scale_factor=0.1, add_offset=5.0, units="m")
    plain = match(pair.tgt, pair.ref, matcher="nuth_kaab")
    assert match(tgt, pair.ref, matcher="nuth_kaab").shift.dz == pytest.approx(plain.shift.dz, abs=0.01)


@pytest.mark.parametrize("units", ["m", "ft"])
def test_points_of_known_height_have_units_too(pair, units):
    at = np.random.default_rng(2).integers(20, 180, (2, 4000))
    z = pair.ref.values[at[0], at[1]] / parse_unit(units).metres
    places = gpd.points_from_xy(pair.ref.x.values[at[1]], pair.ref.y.values[at[0]], crs="EPSG:32633")
    points = gpd.GeoDataFrame({"z": z}, geometry=places)
    points.attrs["units"] = units
    tgt = in_unit(pair.tgt, FOOT, "ft")
    fit = match(tgt, points, matcher="vertical")
    assert fit.shift.unit_z == "ft"
    assert compare_points(tgt, points).median == pytest.approx(-fit.shift.dz * FOOT, abs=0.2)
    points.attrs.clear()
    with pytest.raises(OptionError, match="in an unknown unit"):
        match(tgt, points, matcher="vertical")
