"""Errors and warnings of xcoreg: every message says what was found, what was needed and the cure."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from types import FrameType, ModuleType
from typing import Any
from urllib.parse import unquote

__all__ = [
    "CoregError", "CoregWarning", "EagerLoad", "Extrapolation", "GridError", "LowSupport", "MatchError",
    "MissingDependency", "NoOverlap", "NotGeoreferenced", "OptionError", "TooFewTiePoints", "require",
]  # fmt: skip


_CURL = re.compile(r"/?vsicurl\?[^\s'\"]*?url=([^\s'\",&]+)")
_LOGIN = re.compile(r"(\w://)[^/\s@'\"]+@")
_QUERY = re.compile(r"(\w://[^\s?#'\"]+)([?#])[^\s'\"]+")
_WORD = re.compile(r"\b(password|passwd|pwd|token|secret)\s*=\s*('[^']*'|[^\s'\",;&]+)", re.IGNORECASE)  # of databases


def hide_secrets(text: str) -> str:
    """Remove names with passwords, and what follows `?` or `#` (signatures, tokens), from addresses in a text.

    Examples
    --------
    >>> hide_secrets("https://me:word@host/a.tif?sig=1x does not exist")
    'https://host/a.tif?... does not exist'
    """
    text = _CURL.sub(lambda found: unquote(found[1]), text)  # the address as the user wrote it
    return _WORD.sub(r"\1=...", _QUERY.sub(r"\1\2...", _LOGIN.sub(r"\1", text)))


_LONGEST = 4000  # characters of a message: what it quotes may be of any length


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


class CoregError(Exception):
    """Base of all errors raised by xcoreg; its message holds no secrets of addresses.

    Examples
    --------
    >>> import xcoreg
    >>> try:
    ...     xcoreg.load_fit("no.json")
    ... except CoregError as error:
    ...     print(error)
    there is no file no.json: a fit is written by fit.save(path)
    """

    def __str__(self) -> str:
        return hide_secrets(_shortened(super().__str__()))


class GridError(CoregError, ValueError):
    """The images' grids cannot be used together.

    Examples
    --------
    >>> issubclass(NoOverlap, GridError), issubclass(GridError, ValueError)
    (True, True)
    """


class NoOverlap(GridError):
    """The valid footprints of the two images do not intersect.

    Examples
    --------
    >>> import xcoreg
    >>> one, two = (xcoreg.simulate.pair((300, 300), seed=seed).ref for seed in (1, 2))
    >>> two = two.assign_coords(x=two.x + 90_000)
    >>> two = two.rio.write_transform(two.rio.transform(recalc=True))
    >>> one.coreg.match(two)
    Traceback (most recent call last):
        ...
    xcoreg.errors.NoOverlap: ...
    """


class NotGeoreferenced(GridError):
    """An image has no CRS or no transform.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> xr.DataArray(np.zeros((9, 9)), dims=("y", "x")).coreg.grid
    Traceback (most recent call last):
        ...
    xcoreg.errors.NotGeoreferenced: ...
    """


class OptionError(CoregError, ValueError):
    """An option or an input has a value that cannot be used.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((64, 64), seed=1)
    >>> scene.tgt.coreg.match(scene.ref, windw=64)
    Traceback (most recent call last):
        ...
    xcoreg.errors.OptionError: there is no option 'windw': did you mean 'window'?
    """


class MatchError(CoregError, RuntimeError):
    """No trustworthy answer was found.

    Parameters
    ----------
    reason : str
        What was found, what was needed, what to try.
    points : TiePoints, optional
        The windows that were tried, each with its status.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((300, 300), shift=None, seed=1)  # two places that have nothing in common
    >>> try:
    ...     scene.tgt.coreg.match(scene.ref)
    ... except MatchError as error:
    ...     print(int(error.points.ok.sum()), "windows agree")
    0 windows agree
    """

    def __init__(self, reason: str, points: Any = None) -> None:
        super().__init__(reason)
        self.reason = hide_secrets(_shortened(reason))
        self.points = points


class TooFewTiePoints(MatchError):
    """Too few tie points survived for the model that was asked for.

    Examples
    --------
    >>> issubclass(TooFewTiePoints, MatchError)
    True
    """


class MissingDependency(CoregError, ImportError):
    """An optional package is needed for what was asked.

    Examples
    --------
    >>> require("no_such_package", extra="plot")
    Traceback (most recent call last):
        ...
    xcoreg.errors.MissingDependency: this needs no_such_package: pip install 'xcoreg[plot]'
    """


class CoregWarning(UserWarning):
    """Base of all warnings issued by xcoreg.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():  # where doubts shall stop a job
    ...     warnings.simplefilter("error", CoregWarning)
    """


class LowSupport(CoregWarning):
    """The answer rests on little evidence.

    Examples
    --------
    >>> issubclass(LowSupport, CoregWarning)
    True
    """


class Extrapolation(CoregWarning):
    """A model is used outside the area its points cover.

    Examples
    --------
    >>> issubclass(Extrapolation, CoregWarning)
    True
    """


class EagerLoad(CoregWarning):
    """Lazy data had to be loaded.

    Examples
    --------
    >>> issubclass(EagerLoad, CoregWarning)
    True
    """


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        The extra of xcoreg that installs it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingDependency
        When it is not installed.

    Examples
    --------
    >>> require("math", extra="plot").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependency(f"this needs {package}: pip install 'xcoreg[{extra}]'") from error


def is_name(value: Any, names: Iterable[Any]) -> bool:
    """Whether a value, of any type, is one of some names: arrays and dictionaries are none, and raise nothing."""
    return isinstance(value, str) and value in names


def is_number(value: Any) -> bool:
    """Whether a value, of any type, is a real number, NaN included; True and False are none, nor is a span of time."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    return isinstance(value, Real) and kind in "iuf" and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Whether a value, of any type, is a whole number, of Python or NumPy."""
    return isinstance(value, Integral) and is_number(value)


def numbers_of(value: Any, count: int) -> list[float] | None:
    """Give the numbers of a sequence or an array of so many; None for anything else, however long it is."""
    try:
        if isinstance(value, str | bytes | Mapping | Set) or len(value) != count or getattr(value, "ndim", 1) != 1:
            return None
        parts = [
            one.item() if getattr(one, "dtype", None) is not None and one.dtype.kind in "iuf" else one for one in value
        ]
        return [float(one) for one in parts] if all(map(is_number, parts)) else None
    except (TypeError, ValueError, OverflowError, AttributeError, LookupError):
        return None


def unknown_option(name: str, known: Sequence[str]) -> OptionError:
    """Error for an option that does not exist, with the name that was probably meant."""
    close = difflib.get_close_matches(name, known, 1)
    cure = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"
    return OptionError(f"there is no option {name!r}: {cure}")


def warn_user(message: str, category: type[CoregWarning] = CoregWarning) -> None:
    """Warn at the first line outside of this package."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "xcoreg":
        level, frame = level + 1, frame.f_back
    warnings.warn(hide_secrets(message), category, stacklevel=level)
