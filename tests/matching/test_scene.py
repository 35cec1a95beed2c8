import numpy as np
import pytest
import shapely
from affine import Affine

from xcoreg.errors import NoOverlap, NotGeoreferenced, OptionError
from xcoreg.georef import transform_points
from xcoreg.matching.options import check_options
from xcoreg.matching.scene import prepare

UTM = "EPSG:32633"
HALF = shapely.box(300000, 5897640, 301300, 5900040)


def run(tgt, ref, **options):
    return prepare(tgt, ref, check_options(options))


def test_overlap_of_images_that_lie_apart(plain, make_image):
    tgt = make_image(plain.tgt.values, Affine(10, 0, 301000, 0, -10, 5900540))
    scene = run(tgt, plain.ref)
    assert scene.overlap.bounds == pytest.approx((301000, 5898140, 302600, 5900040), abs=10)


def test_the_lattice_is_that_of_the_coarser_image(plain):
    coarse = plain.ref.coarsen(x=2, y=2).mean().rio.write_crs(UTM)
    assert run(plain.tgt, coarse).linear == pytest.approx((20, 0, 0, -20))


def test_images_that_do_not_overlap_are_refused(plain, make_image):
    far = make_image(plain.tgt.values, Affine(10, 0, 400000, 0, -10, 5900040))
    with pytest.raises(NoOverlap, match="do not overlap"):
        run(far, plain.ref)


@pytest.mark.parametrize("role", ["target", "reference"])
def test_an_image_without_a_crs_is_named_by_its_role(plain, role):
    bare = plain.tgt.drop_vars("spatial_ref")
    images = (bare, plain.ref) if role == "target" else (plain.tgt, bare)
    with pytest.raises(NotGeoreferenced, match=f"{role} has no CRS"):
        run(*images)


@pytest.mark.parametrize("given", [HALF, HALF.wkt], ids=["polygon", "WKT"])
def test_a_known_footprint_bounds_the_overlap(plain, given):
    assert run(plain.tgt, plain.ref, footprint=given).overlap.bounds[2] == pytest.approx(301300)
    assert run(plain.tgt, plain.ref, ref_footprint=given).overlap.bounds[2] == pytest.approx(301300)


def test_a_footprint_in_a_frame_of_another_crs(plain):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(geometry=[HALF], crs=UTM).to_crs(4326)
    assert run(plain.tgt, plain.ref, footprint=frame).overlap.bounds[2] == pytest.approx(301300, abs=0.01)


def test_known_footprints_are_not_searched(plain, monkeypatch):
    def refuse(*_):
        raise AssertionError("searched for a footprint that was given")

    monkeypatch.setattr("xcoreg.matching.scene.footprint", refuse)
    scene = run(plain.tgt, plain.ref, footprint=HALF, ref_footprint=HALF)
    assert scene.footprints == (HALF, HALF)


@pytest.mark.parametrize("wrong", [5, "POLYGON((", "roof.gpkg", HALF.boundary, shapely.Point(3e5, 5.9e6)])
def test_what_is_no_footprint_is_refused(plain, wrong):
    with pytest.raises(OptionError, match=r"^ref_footprint(=.* is neither WKT| must be a polygon|: there is no file)"):
        run(plain.tgt, plain.ref, ref_footprint=wrong)


def test_bands_and_nodata_are_passed_on(plain):
    both = plain.tgt.expand_dims(band=[1, 2]).copy()
    scene = run(both, both, band=2, ref_band=1, nodata=7, ref_nodata=-1)
    assert (scene.target.nodata, scene.reference.nodata) == (7, -1)
    assert (scene.target.lead[0][1], scene.reference.lead[0][1]) == (1, 0)


def test_each_image_has_its_own_mask_and_the_scene_has_both(plain):
    scene = run(plain.tgt, plain.ref, where=lambda x, y: x > 301000, ref_where=lambda x, y: y > 5899000)
    x, y = np.array([301500.0, 301500.0, 300500.0]), np.array([5899500.0, 5898500.0, 5899500.0])
    assert scene.target_cutter.mask(x, y).tolist() == [True, True, False]
    assert scene.reference_cutter.mask(x, y).tolist() == [True, False, True]
    assert scene.mask(x, y).tolist() == [True, False, False]


def test_a_mask_of_the_reference_speaks_its_crs(plain, make_image):
    west, north = transform_points(UTM, "EPSG:4326", np.array([299900.0]), np.array([5900140.0]))
    ref = make_image(plain.ref.values, Affine(1.5e-4, 0, west[0], 0, -9e-5, north[0]), "EPSG:4326")
    middle = transform_points(UTM, "EPSG:4326", np.array([301000.0]), np.array([5899000.0]))[0][0]
    scene = run(plain.tgt, ref, ref_where=lambda lon, lat: lon > middle)
    places = np.array([[301400.0, 300600.0]]), np.array([[5899000.0, 5899000.0]])
    assert scene.reference_cutter.mask(*places).tolist() == [[True, False]]
    assert scene.target_cutter.mask is None
