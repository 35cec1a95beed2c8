import numpy as np
import pytest

from xcoreg.core.drift import NO_PATTERN
from xcoreg.core.matches import Matches
from xcoreg.errors import OptionError
from xcoreg.matching.options import Options, check_options
from xcoreg.simulate import window_pairs


def test_nothing_given_is_the_default():
    options = check_options({})
    assert (options.window, options.windows, options.matcher, options.contrast) == (None, 9, "auto", "same")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("windw", "window"), ("max_shfit", "max_shift"), ("refband", "ref_band"), ("mach", "matcher"), ("foot", None)],
)
def test_a_misspelt_option_is_named_with_the_right_one(typo, meant):
    hint = f"did you mean '{meant}'" if meant else "did you mean 'footprint'|choose from band, ref_band"
    with pytest.raises(OptionError, match=hint):
        check_options({typo: 1})


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        ("window", 15, "at least 16"),
        ("window", 64.0, "whole number of pixels"),
        ("window", "256", "whole number of pixels"),
        ("windows", 0, "at least 1"),
        ("windows", 2.5, "number of windows"),
        ("max_shift", 0, "positive number"),
        ("max_shift", -3.0, "positive number"),
        ("max_shift", float("nan"), "positive number"),
        ("max_shift", float("inf"), "positive number"),
        ("max_shift", "3", "positive number"),
        ("at", (1.0,), "CRS units of the target"),
        ("at", (1.0, float("nan")), "CRS units of the target"),
        ("at", "here", "CRS units of the target"),
        ("at", ((1, 2), (3,)), "CRS units of the target"),
        ("contrast", "inverse", "same, reversed, any"),
        ("errors", "ignore", "'raise' or 'return'"),
        ("matcher", "ecc", "choose 'phase'"),
        ("matcher", None, "choose 'phase'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_the_cure(option, value, cure):
    with pytest.raises(OptionError, match=cure) as caught:
        check_options({option: value})
    assert str(caught.value).startswith(option)


@pytest.mark.parametrize(
    ("option", "value"),
    [("window", np.int64(64)), ("max_shift", np.float32(2.5)), ("max_shift", 3), ("at", np.array([1.0, 2.0]))],
)
def test_numpy_numbers_are_numbers(option, value):
    assert getattr(check_options({option: value}), option) is value


def test_a_function_is_a_matcher():
    assert check_options({"matcher": max}).match_function(3.0) is max


def test_the_phase_matcher_gets_limit_and_contrast():
    function = check_options({"contrast": "reversed"}).match_function(3.0)
    assert function.keywords == {"max_shift": 3.0, "contrast": "reversed", "compare": False, "pattern": NO_PATTERN}


def test_the_phase_matcher_runs():
    pairs, ok = window_pairs(2, 64, 20.0, seed=1), np.ones((2, 64, 64), bool)
    found = Options().match_function(None)(pairs.ref, pairs.tgt, ok, ok)
    assert isinstance(found, Matches)
    assert found.ok.all()


def test_the_record_holds_what_differs_from_the_default():
    options = check_options({"window": 128, "at": (1.0, 2.0), "windows": 9, "nodata": 0, "matcher": max})
    assert options.record() == {"window": 128, "at": (1.0, 2.0), "nodata": 0, "matcher": "<built-in function max>"}


def test_options_cannot_be_changed():
    with pytest.raises(AttributeError):
        check_options({}).window = 3


def test_contrast_is_not_ignored_by_a_matcher_of_ones_own():
    with pytest.raises(OptionError, match="phase matcher"):
        check_options({"matcher": lambda *windows: ([0.0], [0.0]), "contrast": "any"})
