"""Errors and warnings of xcoreg: every message says what was found, what was needed and the cure."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "CoregError",
    "CoregWarning",
    "EagerLoad",
    "Extrapolation",
    "GridError",
    "LowSupport",
    "MatchError",
    "MissingDependency",
    "NoOverlap",
    "NotGeoreferenced",
    "OptionError",
    "TooFewTiePoints",
    "require",
]


class CoregError(Exception):
    """Base of all errors raised by xcoreg."""


class GridError(CoregError, ValueError):
    """The images' grids cannot be used together."""


class NoOverlap(GridError):
    """The valid footprints of the two images do not intersect."""


class NotGeoreferenced(GridError):
    """An image has no CRS or no transform."""


class OptionError(CoregError, ValueError):
    """An option or an input has a value that cannot be used."""


class MatchError(CoregError):
    """No trustworthy answer was found.

    Parameters
    ----------
    reason : str
        What was found, what was needed, what to try.
    points : TiePoints, optional
        The windows that were tried, each with its status.
    """

    def __init__(self, reason: str, points: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.points = points


class TooFewTiePoints(MatchError):
    """Too few tie points survived for the model that was asked for."""


class MissingDependency(CoregError, ImportError):
    """An optional package is needed for what was asked."""


class CoregWarning(UserWarning):
    """Base of all warnings issued by xcoreg."""


class LowSupport(CoregWarning):
    """The answer rests on little evidence."""


class Extrapolation(CoregWarning):
    """A model is used outside the area its points cover."""


class EagerLoad(CoregWarning):
    """Lazy data had to be loaded."""


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
