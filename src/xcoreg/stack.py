"""Stacks of dates: match them together, extend, apply; what accessor, command line and batches call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from xcoreg.matching.options import shows_options
from xcoreg.matching.stack import match_stack as measure
from xcoreg.matching.stack_dates import datum_named
from xcoreg.matching.stack_field import match_stack_local as measure_fields
from xcoreg.matching.stack_options import (
    StackKeywords,
    StackLocalKeywords,
    StackLocalOptions,
    StackOptions,
    check_stack_options,
)
from xcoreg.warp.stack import apply_stack

if TYPE_CHECKING:
    from xcoreg.results.stack import StackFit

__all__ = ["apply_stack", "extend_stack", "match_stack", "match_stack_local"]


@shows_options(StackOptions)
def match_stack(images: Any, reference: Any = None, **options: Unpack[StackKeywords]) -> StackFit:
    """Measure the shifts of all dates of a stack together.

    Which pairs of dates are matched is chosen, each window of a date is read once, and all accepted pairs are adjusted
    as one network: outliers are found, and errors that triangles show are told from those that images make in all of
    their pairs.

    Parameters
    ----------
    images : DataArray or Dataset (time, [band,] y, x), or list or dictionary of images, files or addresses
        The dates: of a cube on one grid, of a list on any grids and CRSs, of a dictionary by their names. Lazy ones are
        read in windows.
    reference : DataArray, Dataset, path or date, optional
        An image that has its place: all dates are moved onto it; or the name, time or number of one of the dates.
        Without one the datum is `datum`, default the mean of the dates.
    **options
        See :class:`xcoreg.matching.stack_options.StackOptions`.

    Returns
    -------
    StackFit
        The correction of every date (``x_true = x + dx``) with its covariance, every pair matched and its residual, how
        well triangles close, and which dates and pairs were refused and why. :func:`xcoreg.apply` applies it.

    Raises
    ------
    MatchError
        When no date can be placed; with ``errors="raise"`` when any cannot.
    OptionError
        For an unknown option, or fewer than two dates.
    GridError
        When an image lacks a georeference.

    Warns
    -----
    CoregWarning
        Names dates that are not placed.

    Notes
    -----
    Robust weighted least squares: absolute residuals first, then Tukey's biweight (Huber & Ronchetti 2009), with
    variance components by kind of pair (Foerstner 1979, doi:10.1007/BF02521636). It does not model a content that moves
    by itself, such as a glacier, nor heights: see :func:`match_stack_local` for shifts that vary from place to place.
    The dates of pairs that are far apart in the season share the error of the season; it is part of the covariances.

    Examples
    --------
    >>> from xcoreg.simulate import cube
    >>> made = cube(5, (200, 200), clouds=0.1, seed=2)
    >>> stack = match_stack(made.cube)
    >>> stack.ok, bool(abs(stack.shifts_px - (made.shifts - made.shifts.mean(0))).max() < 0.05)
    (True, True)
    """
    return _measured(measure, images, reference, check_stack_options(dict(options), StackOptions))


def _measured(verb: Any, images: Any, reference: Any, options: StackOptions, *more: Any) -> StackFit:
    """Measure a stack; a reference that names one of the dates is the datum."""
    images = list(images) if isinstance(images, Iterator) else images
    named = datum_named(images, reference)
    if named is not None:
        reference, options = None, replace(options, datum=named)
    found: StackFit = verb(images, reference, options, *more)
    return found


@shows_options(StackLocalOptions)
def match_stack_local(images: Any, reference: Any = None, **options: Unpack[StackLocalKeywords]) -> StackFit:
    """Measure the fields of shifts of all dates of a stack together: the network is solved at every tie point.

    Parameters
    ----------
    images, reference
        See :func:`match_stack`, which is done first: it chooses the pairs.
    **options
        See :class:`xcoreg.matching.stack_options.StackLocalOptions`.

    Returns
    -------
    StackFit
        With a field for every date in `fields`, None of those that are refused.

    Raises
    ------
    MatchError, OptionError, GridError
        As :func:`match_stack`.

    Examples
    --------
    >>> from xcoreg.simulate import cube
    >>> made = cube(4, (256, 256), clouds=0, seed=2)
    >>> stack = match_stack_local(made.cube, window=64, spacing=48)
    >>> stack.is_field, stack.fields[0].model.kind
    (True, 'translation')
    """
    return _measured(measure_fields, images, reference, check_stack_options(dict(options), StackLocalOptions))


@shows_options(StackOptions)
def extend_stack(stack: StackFit, images: Any, reference: Any = None, **options: Unpack[StackKeywords]) -> StackFit:
    """Add dates to a stack: only pairs with a new date are matched.

    Parameters
    ----------
    stack : StackFit
        Without fields. Its pairs between dates that are among the images again are adjusted anew with the new ones.
    images : as for :func:`match_stack`
        Old and new dates; those of the stack are recognised by their names.
    reference : DataArray, Dataset or path, optional
        As for :func:`match_stack`.
    **options
        See :class:`xcoreg.matching.stack_options.StackOptions`. The datum stays that of the stack: the mean of its
        dates, not of the new ones.

    Returns
    -------
    StackFit

    Raises
    ------
    OptionError
        When none of the images is a date of the stack, or the stack has fields.
    MatchError, GridError
        As :func:`match_stack`.

    Examples
    --------
    >>> from xcoreg.simulate import cube
    >>> made = cube(6, (200, 200), clouds=0.1, seed=2).cube
    >>> stack = match_stack(made[:5])
    >>> longer = extend_stack(stack, made)
    >>> len(longer.names), len(longer.pairs) > len(stack.pairs)
    (6, True)
    """
    return _measured(measure, images, reference, check_stack_options(dict(options), StackOptions), stack)
