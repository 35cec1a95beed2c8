"""dz goes to the bands that hold heights, in their own unit, and to no others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine
from xarray import Dataset

from xcoreg.core.models import Translation
from xcoreg.errors import CoregWarning, OptionError
from xcoreg.results.details import TargetHeights
from xcoreg.warp.apply import apply
from xcoreg.warp.vertical import heights_in

DZ = -2.0
LIFT = Translation(20.0, 30.0, DZ)
SHAPE = (100, 120)


@pytest.fixture
def fit_of(make_fit):
    """A fit of elevation models, whose target was a band as described."""

    def make(unit="", **described):
        described.setdefault("dtype", "float32")
        return make_fit(model=LIFT, heights=TargetHeights(unit, **described))

    return make


@pytest.fixture
def stack(make_image):
    """Three bands of 100, 1 and 3."""

    def make(dtype="float32", **attrs):
        pixels = np.stack([np.full(SHAPE, value, dtype) for value in (100, 1, 3)])
        image = make_image(pixels).rename(lead0="band").assign_coords(band=[1, 2, 3])
        return image.assign_attrs(**attrs)

    return make


def added(out, image):
    """What was added to every band."""
    return [float(np.nanmedian(new - old)) for new, old in zip(out.values, image.values.astype(float), strict=True)]


CASES = {
    "the band that was matched": ({}, {}, [DZ, 0, 0]),
    "the second one was matched": ({"position": 1}, {}, [0, DZ, 0]),
    "names": ({}, {"long_name": ("dem", "dem_uncertainty", "count")}, [DZ, 0, 0]),
    "units": ({"position": 1, "dtype": "int16"}, {"units": ("m", "1", "1")}, [DZ, 0, 0]),
    "names before units": (
        {"dtype": "int16"},
        {"long_name": ("a", "elevation error", "n"), "units": ("m",) * 3},
        [DZ, 0, 0],
    ),
    "surface and terrain": ({"dtype": "int16"}, {"long_name": ("DSM", "DTM", "mask")}, [DZ, DZ, 0]),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("grid", ["moved", "resampled"])
@pytest.mark.parametrize("case", CASES)
def test_only_heights_are_corrected(fit_of, stack, case, grid, lazy):
    described, attrs, expected = CASES[case]
    image = stack(**attrs)
    options = {} if grid == "moved" else {"like": image[0]}
    out = apply(image.chunk(band=1) if lazy else image, fit_of(**described), **options)
    assert added(out, image) == expected
    done = json.loads(out.attrs["xcoreg"])[0]
    assert done["bands"] == [at + 1 for at, dz in enumerate(expected) if dz]


def test_an_array_of_integers_becomes_floating_as_one(fit_of, stack):
    image = stack("uint16")
    out = apply(image, fit_of(dtype="uint16"))
    assert out.dtype == np.float32
    assert added(out, image) == [DZ, 0, 0]


@pytest.mark.parametrize(
    ("vertical", "expected"),
    [(False, [0, 0, 0]), (True, [DZ, DZ, DZ]), (2, [0, DZ, 0]), ("b", [0, DZ, 0]), (["a", 3], [DZ, 0, DZ])],
)
def test_a_user_says_which(fit_of, stack, vertical, expected):
    image = stack(long_name=("a", "b", "c"))
    assert added(apply(image, fit_of(), vertical=vertical), image) == expected


def test_of_a_dataset_variables_are_named(fit_of, make_image):
    ones = make_image(np.ones(SHAPE, np.float32))
    product = Dataset({"surface": ones, "sigma": ones, "extra": ones})
    for options, raised in (
        ({}, {"surface"}),
        ({"vertical": "extra"}, {"extra"}),
        ({"vertical": [1, 2]}, {"surface", "sigma"}),
    ):
        out = apply(product, fit_of(variable="surface"), **options)
        assert {name for name in out.data_vars if float(out[name][0, 0]) == 1 + DZ} == raised
    with pytest.raises(OptionError, match="vertical='dem' is no variable of the image: it has surface, sigma, extra"):
        apply(product, fit_of(), vertical="dem")


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_what_nothing_says_to_be_heights_is_left_alone_with_a_warning(fit_of, make_image, dtype):
    image = make_image(np.full((50, 60), 7, dtype), Affine(25, 0, 300000, 0, -25, 5900040))
    with pytest.warns(CoregWarning, match="neither a name nor a unit says which band holds heights"):
        out = apply(image, fit_of(dtype=dtype))
    assert out.dtype == dtype
    assert (out == 7).all()


def test_a_part_of_what_was_matched_is_known(fit_of, make_image):
    image = make_image(np.full(SHAPE, 7, np.float32))
    assert (apply(image[20:60, 30:], fit_of()) == 7 + DZ).all()


def test_masks_of_small_integers_need_no_warning(fit_of, make_image):
    image = make_image(np.ones(SHAPE, np.uint8))
    assert apply(image, fit_of()).dtype == np.uint8


def test_nearest_is_for_masks_unless_a_name_says_otherwise(fit_of, make_image):
    image = make_image(np.ones(SHAPE, np.float32))
    with pytest.warns(CoregWarning, match="vertical=True"):
        assert (apply(image, fit_of(), resampling="nearest") == 1).all()
    assert (apply(image.rename("dem"), fit_of(), resampling="nearest") == 1 + DZ).all()


@pytest.mark.parametrize(
    ("given", "own", "factor"),
    [
        ("m", "ft", 1 / 0.3048),
        ("ft", "m", 0.3048),
        ("ft", "US survey foot", 0.3048 * 3937 / 1200),
        ("", "m", 1),
        ("m", "m", 1),
    ],
)
def test_dz_is_added_in_the_unit_of_the_band(fit_of, make_image, given, own, factor):
    image = make_image(np.ones(SHAPE), attrs={"units": own})
    assert float(apply(image, fit_of(given))[0, 0]) == pytest.approx(1 + DZ * factor)


@pytest.mark.parametrize(("given", "own"), [("", "ft"), ("ft", None)])
def test_a_unit_that_is_unknown_beside_feet_is_refused(fit_of, make_image, given, own):
    image = make_image(np.ones(SHAPE, np.float32), attrs={} if own is None else {"units": own}).rename("dem")
    with pytest.raises(OptionError, match=r"dz of the fit: in .*; the band: in .*name the unit"):
        apply(image, fit_of(given))


def test_dz_of_numbers_that_are_stored_scaled(fit_of, make_image):
    image = make_image(np.full(SHAPE, 70, np.int16), attrs={"scale_factor": 0.1, "add_offset": 5.0})
    assert (apply(image, fit_of("m", dtype="int16")) == 70 + DZ / 0.1).all()


def test_a_vertical_crs_names_the_unit(fit_of, make_image):
    image = make_image(np.ones(SHAPE, np.float32), crs="EPSG:32633+6360")
    assert float(apply(image, fit_of("m"))[0, 0]) == pytest.approx(1 + DZ * 3937 / 1200)


def test_fits_of_older_versions_go_by_the_dtype(make_fit, make_image):
    for dtype, raised in (("float32", True), ("uint16", False), ("int16", True)):
        image = make_image(np.ones(SHAPE, dtype))
        assert bool(heights_in({None: image}, make_fit(model=LIFT))[None]) == raised
