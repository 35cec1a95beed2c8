import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.details import Details, Interim, Window
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

LINEAR = (10.0, 0.0, 0.0, -10.0)
CORNERS = [[319090.0, 5790510.0], [351800.0, 5899940.0], [409790.0, 5900040.0], [409790.0, 5790250.0]]
INTERIM = Interim(
    tgt_corners=CORNERS,
    ref_corners=CORNERS * 2,
    window=Window(354223, 5805559, 256),
    linear=(20.0, 0.0, 0.0, -20.0),
    integer=(0, -1),
    subpixel=(0.17894281623, 0.21691865999),
)
REF_GRID = GeoBox((10, 10), Affine(5, 0, 300000, 0, -5, 5900040), "EPSG:32633")


def make(**columns):
    shift = Shift.from_pixels(0.357885632465, -1.566162680016, LINEAR, [[4e-6, 0], [0, 3e-6]])
    return Coregistration(
        **{
            "model": Translation(shift.dx, shift.dy),
            "points": TiePoints([0, 1], *[[0, 0]] * 8, status=[0, 1]),
            "quality": Quality(98.2, 0.93, 0.42, 0.88, 2, 1, 0.031, 0.004, -0.01, ("one <b> window",)),
            "status": Status.OK,
            "shift_or_none": shift,
            "crs_wkt": "EPSG:32633",
            "transform": (10, 0, 300000, 0, -10, 5900040),
            "shape": (10980, 10980),
            "details": Details(interim=INTERIM, ref_grid=REF_GRID),
        }
        | columns
    )


@pytest.fixture(scope="module")
def lines():
    return make().summary().splitlines()


def values(lines, name):
    return [line[23:] for line in lines if line.startswith(f"  {name:<20} ")]


def test_corners_are_listed_the_many_cut_short(lines):
    assert values(lines, "target corners")[0].startswith("(319090, 5790510)  (351800, 5899940)")
    assert values(lines, "reference corners")[0].endswith("and 2 more")


def test_the_window_is_given(lines):
    assert values(lines, "matching window") == ["centre x 354223, y 5805559; 256 x 256 px"]


def test_whole_and_sub_pixel_parts_are_given(lines):
    assert values(lines, "whole-pixel shift") == ["col +0, row -1 matching px"]
    assert values(lines, "sub-pixel shift") == ["col +0.178943, row +0.216919 matching px"]


def test_totals_are_given_in_all_three_grids(lines):
    assert values(lines, "total shift") == [
        "col +0.178943, row -0.783081 matching px",
        "col +0.715771, row -3.132325 reference px",
        "col +0.357886, row -1.566163 target px (± 0.0020, 0.0017)",
    ]


def test_length_and_angle_are_given(lines):
    assert values(lines, "length") == ["16.065 m"]
    assert values(lines, "angle")[0].startswith("192.872°")


def test_geotransforms_are_given_to_the_last_digit(lines):
    assert values(lines, "geotransform before") == ["300000.0, 10.0, 0.0, 5900040.0, 0.0, -10.0"]
    after = [float(text) for text in values(lines, "geotransform after")[0].split(", ")]
    assert after == pytest.approx([300003.57885632466, 10, 0, 5900055.6616268, 0, -10], abs=1e-8)


def test_quality_is_given(lines):
    assert values(lines, "reliability") == ["98.2 %"]
    assert values(lines, "similarity (SSIM)") == ["0.420 before, 0.880 after"]
    assert values(lines, "windows") == ["1 of 2 agree (1 NO_DATA), spread 0.031 px"]
    assert values(lines, "phase-only answer") == ["differs by col +0.004, row -0.010 px"]


def test_a_reference_in_another_crs_has_turned_pixels():
    grid = GeoBox(REF_GRID.shape, REF_GRID.affine, "EPSG:32634")
    total = values(make(details=Details(ref_grid=grid)).summary().splitlines(), "total shift")[0]
    assert total.endswith("reference px")
    assert total != "col +0.715771, row -3.132325 reference px"


def test_nothing_is_made_up_when_interim_results_are_missing():
    text = make(details=Details()).summary()
    assert "corners" not in text
    assert text.count("total shift") == 1


def test_a_failure_opens_with_its_reason():
    text = make(model=None, shift_or_none=None, status=Status.FLAT).summary()
    assert text.startswith("Coregistration: FLAT, no texture to match\n")
    assert "shift" not in text


def test_a_refused_shift_is_not_shown_as_applied():
    text = make(status=Status.DISAGREES).summary()
    assert "geotransform after" not in text
    assert "it would become" in text


def test_html_is_escaped():
    page = make()._repr_html_()
    assert "one &lt;b&gt; window" in page
    assert page.count("<tr>") == page.count("</tr>") > 10
