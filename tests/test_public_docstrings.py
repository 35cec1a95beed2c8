"""Every public name says what it takes, what it gives and when it refuses, with an example that runs as a doctest."""

from __future__ import annotations

import ast
import doctest
import inspect
import textwrap
from itertools import pairwise

import pytest

import xcoreg
from xcoreg.accessor import CoregAccessor

MODULES = [name for name in xcoreg.__all__ if inspect.ismodule(getattr(xcoreg, name))]
CLASSES = [name for name in xcoreg.__all__ if inspect.isclass(getattr(xcoreg, name))]
FUNCTIONS = [name for name in xcoreg.__all__ if inspect.isfunction(getattr(xcoreg, name))]


def offered(owner):
    """Public members that an owner (class or module) defines itself, as plain functions."""
    names = owner.__all__ if inspect.ismodule(owner) else [name for name in vars(owner) if not name.startswith("_")]
    for name in names:
        one = inspect.getattr_static(owner, name)
        plain = getattr(one, "fget", None) or getattr(one, "__func__", one)
        if inspect.isfunction(plain) or inspect.isclass(plain):
            yield name, plain


MEMBERS = [
    pytest.param(plain, id=f"{owner}.{name}")
    for owner in [*CLASSES, *MODULES]
    for name, plain in offered(getattr(xcoreg, owner))
]
ACCESSOR = [pytest.param(plain, id=name) for name, plain in offered(CoregAccessor)]
FREE = [pytest.param(getattr(xcoreg, name), id=name) for name in FUNCTIONS]


def doc(thing):
    return inspect.getdoc(thing) or ""


def examples(thing):
    return doctest.DocTestParser().get_examples(doc(thing))


def sections(text):
    lines = text.splitlines()
    return {line for line, under in pairwise(lines) if under and set(under) == {"-"}}


def raises_itself(function):
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


def parameters(function):
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return [one.name for one in found if one.name not in ("self", "cls") and one.kind not in kinds]


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_an_example(name):
    assert examples(getattr(xcoreg, name))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert len(doc(getattr(xcoreg, name))) > 60


@pytest.mark.parametrize("function", [*FREE, *ACCESSOR])
def test_functions_and_the_accessor_have_an_example(function):
    assert examples(function)


@pytest.mark.parametrize("function", [*FREE, *ACCESSOR, *MEMBERS])
def test_every_parameter_is_explained(function):
    if inspect.isfunction(function):
        text = doc(function)
        # "as in ..." refers to where they are explained; a member of two lines may name them in its sentence
        missing = [name for name in parameters(function) if name not in text.replace("`", "")]
        assert missing == [] or "See" in text or "Undo" in text


@pytest.mark.parametrize("function", [*FREE, *ACCESSOR])
def test_what_comes_back_is_told(function):
    told = sections(doc(function))
    annotation = inspect.signature(function).return_annotation
    assert "Returns" in told or annotation in (None, "None") or not parameters(function)


@pytest.mark.parametrize("function", [*FREE, *ACCESSOR, *MEMBERS])
def test_errors_are_told_where_they_are_raised(function):
    if inspect.isfunction(function) and raises_itself(function):
        text = doc(function)
        assert "Raises" in sections(text) or "raises" in text or "Undo" in text


@pytest.mark.parametrize("function", [*FREE, *ACCESSOR, *MEMBERS])
def test_the_first_line_is_a_sentence(function):
    first = doc(function).split("\n\n")[0]
    assert first.endswith((".", ":"))
    assert len(first) > 12


@pytest.mark.parametrize("name", ["match", "match_local", "Shift", "TiePoints", "phase_match", "Matches"])
def test_what_gives_shifts_states_the_sign(name):
    text = doc(getattr(xcoreg, name))
    assert "x_ref = x" in text or "target -> reference" in text


@pytest.mark.parametrize("name", ["Shift", "TiePoints", "Matches", "phase_match", "crlb", "GCPs"])
def test_what_holds_numbers_states_units_and_shapes(name):
    text = doc(getattr(xcoreg, name))
    assert "px" in text or "pixel" in text
    assert any(shape in text for shape in ("(n", "(rows", "tuple", "array"))
