"""Signatures show every option, for people who ask `help` and for editors."""

import inspect
from dataclasses import fields

import pytest

import xcoreg
from xcoreg.accessor import CoregAccessor
from xcoreg.coregister import ShiftToOptions, WarpToOptions
from xcoreg.errors import OptionError, unknown_option
from xcoreg.matching.options import LocalOptions, MatchLocalOptions, MatchOptions, Options
from xcoreg.warp.plan import ApplyKeywords, ApplyOptions

KEYWORDS = {
    "match": MatchOptions,
    "match_local": MatchLocalOptions,
    "tie_points": MatchLocalOptions,
    "apply": ApplyKeywords,
    "shift_to": ShiftToOptions,
    "warp_to": WarpToOptions,
}
METHODS = [name for name in KEYWORDS if name != "tie_points"]


def options_of(function):
    georeference = {"ground", "dem", "vertical_datum"}
    parameters = inspect.signature(function).parameters.values()
    return {
        one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in georeference
    }


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_function_shows_every_option(name):
    # match_local has no use for these, and says so when they are given
    unused = {"at", "windows", "bias"} if "points" in KEYWORDS[name].__annotations__ else set()
    assert set(options_of(getattr(xcoreg, name))) == set(KEYWORDS[name].__annotations__) - unused


@pytest.mark.parametrize("name", METHODS)
def test_a_method_shows_the_options_of_its_function(name):
    assert options_of(getattr(CoregAccessor, name)) == options_of(getattr(xcoreg, name))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_an_image_shows_them_too(name):
    image = xcoreg.simulate.pair((32, 32), seed=1).tgt
    method = getattr(image.coreg, name)
    assert options_of(method) == options_of(getattr(xcoreg, name))
    assert "self" not in inspect.signature(method).parameters


@pytest.mark.parametrize(("name", "kind"), [("match", Options), ("match_local", LocalOptions), ("apply", ApplyOptions)])
def test_defaults_are_those_of_the_checked_options(name, kind):
    defaults = {field.name: field.default for field in fields(kind)}
    assert all(default == defaults[option] for option, default in options_of(getattr(xcoreg, name)).items())


def test_help_lists_options():
    assert "resampling: 'str' = 'auto'" in str(inspect.signature(xcoreg.apply))


@pytest.mark.parametrize("call", [xcoreg.apply, xcoreg.accessor.CoregAccessor.apply], ids=["function", "method"])
def test_apply_names_the_option_that_was_meant(call):
    image = xcoreg.simulate.pair((32, 32), seed=1).tgt
    owner = image if call is xcoreg.apply else image.coreg
    with pytest.raises(OptionError, match="there is no option 'resamplin': did you mean 'resampling'"):
        call(owner, None, resamplin="cubic")


def test_an_option_like_no_other_is_answered_with_all_of_them():
    assert str(unknown_option("xyz", ["window", "at"])) == "there is no option 'xyz': choose from window, at"
