import importlib
import inspect
import subprocess
import sys

import pytest

import xcoreg


@pytest.mark.parametrize("name", xcoreg.__all__)
def test_every_public_name_exists_and_is_documented(name):
    thing = getattr(xcoreg, name)
    assert len(inspect.getdoc(thing) or "") > 20


@pytest.mark.parametrize("name", xcoreg.__all__)
def test_every_public_name_is_listed(name):
    assert name in dir(xcoreg)


def test_all_is_sorted_and_without_repeats():
    assert sorted(set(xcoreg.__all__)) == sorted(xcoreg.__all__)


def test_names_of_the_design_are_public():
    wanted = {"open_raster", "write_raster", "load_fit", "match", "apply", "Coregistration", "TiePoints", "MatchError"}
    assert wanted <= set(xcoreg.__all__)


def test_only_public_names_are_listed():
    assert {name for name in dir(xcoreg) if not name.startswith("__")} == {*xcoreg.__all__, "plot"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'xcoreg' has no attribute 'mathc'"):
        xcoreg.mathc  # noqa: B018


def test_star_import_brings_all():
    names = {}
    exec("from xcoreg import *", names)
    assert set(xcoreg.__all__) <= set(names)


def test_a_name_is_imported_once():
    assert xcoreg.match is importlib.import_module("xcoreg.coregister").match
    assert "match" in vars(xcoreg)


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert xcoreg.__version__ == version("xcoreg")


def python(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_the_top_level_is_lazy():
    script = "import sys, xcoreg; print({'scipy', 'xarray', 'xcoreg.matching', 'xcoreg.io'} & {*sys.modules} or '[]')"
    assert python(script) == "[]"


METHODS = [name for name in dir(xcoreg.accessor.CoregAccessor) if not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_accessor_is_documented(name):
    assert len(inspect.getdoc(getattr(xcoreg.accessor.CoregAccessor, name)) or "") > 20


def test_the_accessor_offers_the_verbs_of_the_design():
    assert {"grid", "nodata", "footprint", "overlap", "match", "apply", "shift_to"} <= set(METHODS)


def test_errors_derive_from_what_they_resemble():
    assert issubclass(xcoreg.OptionError, ValueError)
    assert issubclass(xcoreg.GridError, ValueError)
    assert issubclass(xcoreg.MissingDependency, ImportError)
    assert all(
        issubclass(getattr(xcoreg, name), xcoreg.CoregError)
        for name in ("OptionError", "GridError", "NoOverlap", "NotGeoreferenced", "MatchError", "MissingDependency")
    )
