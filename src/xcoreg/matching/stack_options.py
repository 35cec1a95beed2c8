"""The options of `match_stack` and `match_stack_local`, and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np

from xcoreg.core.models import KINDS
from xcoreg.errors import OptionError, is_integer, is_name, is_number, unknown_option

_SMALLEST_WINDOW = 16


class StackKeywords(TypedDict, total=False):
    """Keyword options of `match_stack`; see :class:`StackOptions` for what they mean."""

    pairs: Any
    max_pairs: int | None
    partners: int
    datum: Any
    reference_sigma: float
    band: int | str | None
    nodata: float | None
    ref_band: int | str | None
    ref_nodata: float | None
    where: Any
    ref_where: Any
    window: int | None
    windows: int | None
    max_shift: float | None
    contrast: Literal["same", "reversed", "any"]
    progress: bool
    errors: Literal["warn", "raise"]


class StackLocalKeywords(StackKeywords, total=False):
    """Keyword options of `match_stack_local`; see :class:`StackOptions` for what they mean."""

    spacing: float | None
    model: Any


@dataclass(frozen=True, eq=False)
class StackOptions:
    """Checked options.

    Attributes
    ----------
    pairs : "auto", "all" or list of (date, date)
        Which pairs are matched: "auto" chooses by how alike small images of the dates are, a spanning set first, then
        partners near and far in time for every date. Dates of a list are positions or names.
    max_pairs : int, optional
        Pairs matched at most; default eight for each date.
    partners : int
        Accepted partners that every date is to have.
    datum : "mean" or date, optional
        What stays in place: the mean of the dates, or one of them. Default: the reference image if there is one.
    reference_sigma : float
        Standard deviation of the place of the reference image, px of the matching grid; 0: it is fixed.
    band, nodata, ref_band, ref_nodata : optional
        As for one pair: of every date, and of the reference image.
    where, ref_where : optional
        Use dates only where true: DataArray (y, x), or (time, y, x) with a mask for each date, geometry, ..., or a list
        of these; and the reference image.
    window : int, optional
        Side of the matching windows, px of the matching grid: default 256, or less where few of these fit.
    windows : int, optional
        Windows of a date at most; default 25, or what memory allows.
    max_shift : float, optional
        Largest correction of one date onto another on each axis, px of the matching grid. Default: two fifths of the
        windows.
    contrast : {"same", "reversed", "any"}
        Whether bright is bright in both dates.
    progress : bool
        Show a progress bar on stderr.
    errors : {"warn", "raise"}
        What happens when some dates cannot be placed: a warning names them, or MatchError.
    """

    pairs: Any = "auto"
    max_pairs: int | None = None
    partners: int = 10
    datum: Any = None
    reference_sigma: float = 0.0
    band: int | str | None = None
    nodata: float | None = None
    ref_band: int | str | None = None
    ref_nodata: float | None = None
    where: Any = None
    ref_where: Any = None
    window: int | None = None
    windows: int | None = None
    max_shift: float | None = None
    contrast: str = "same"
    progress: bool = False
    errors: str = "warn"

    def budget(self, n: int) -> int:
        """Pairs of `n` dates that are matched at most."""
        if self.pairs == "all":
            return n * n
        return max(8 * n, 45) if self.max_pairs is None else self.max_pairs

    def record(self) -> dict[str, Any]:
        """Options that differ from their defaults, for the result."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not f.default}
        return {name: one if isinstance(one, int | float | str) else str(one)[:200] for name, one in changed.items()}


@dataclass(frozen=True, eq=False)
class StackLocalOptions(StackOptions):
    """Checked options of fields: these, and those of :class:`StackOptions`.

    Attributes
    ----------
    spacing : float, optional
        Distance between windows, px of the matching grid; default half of their side.
    model : str or object
        As for :class:`xcoreg.matching.options.LocalOptions`; "auto" chooses for each date.
    """

    spacing: float | None = None
    model: Any = "auto"


_Checked = TypeVar("_Checked", bound=StackOptions)


def check_stack_options(given: dict[str, Any], kind: type[_Checked]) -> _Checked:
    """Check options as a user gave them."""
    known = [one.name for one in fields(kind)]
    for name in given:
        if name not in known:
            raise unknown_option(name, known)
    options = kind(**given)
    _check_counts(options)
    _check_model(getattr(options, "model", "auto"))
    if not is_name(options.contrast, ("same", "reversed", "any")):
        raise OptionError(f"contrast is {options.contrast!r}: choose from same, reversed, any")
    progress: Any = options.progress
    if not isinstance(progress, bool | np.bool_):
        raise OptionError(f"progress is {progress!r:.80}: give True or False")
    if not is_name(options.errors, ("warn", "raise")):
        raise OptionError(f"errors is {options.errors!r}: choose 'warn' or 'raise'")
    if isinstance(options.pairs, str):
        if options.pairs not in ("auto", "all"):
            raise OptionError(f"pairs is {options.pairs!r}: choose 'auto', 'all', or give a list of pairs of dates")
    elif not isinstance(options.pairs, Sequence) or not len(options.pairs):
        raise OptionError(f"pairs is {options.pairs!r:.60}: give a list of pairs of dates, 'auto' or 'all'")
    return options


def _check_model(model: Any) -> None:
    names = ("auto", *KINDS)
    if not (model in (*names, "polynomial") if isinstance(model, str) else hasattr(model, "fit")):
        raise OptionError(f"model is {model!r:.60}: choose from {', '.join(names)}, or give an object with fit(...)")


def _check_counts(options: StackOptions) -> None:
    lowest = {"max_pairs": 1, "partners": 1, "window": _SMALLEST_WINDOW, "windows": 1}
    for name, least in lowest.items():
        value: Any = getattr(options, name)
        if value is not None and not (is_integer(value) and value >= least):
            raise OptionError(f"{name} is {value!r}: give a whole number, at least {least}")
    for name, zero in (("max_shift", False), ("spacing", False), ("reference_sigma", True)):
        number: Any = getattr(options, name, None)
        if number is None:
            continue
        if not (is_number(number) and 0 <= float(number) < np.inf and (number != 0 or zero)):
            raise OptionError(f"{name} is {number!r}: give a positive number of pixels of the matching grid")
