"""The options of `match` and `match_local`: their meaning, their checks, and how signatures show them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypedDict, TypeVar, overload

import numpy as np

from xcoreg.core import Bools, Floats
from xcoreg.core.dem import ELEVATION_MATCHERS, Terms, parse_terms
from xcoreg.core.drift import NO_PATTERN, Pattern
from xcoreg.core.matcher import phase_match, phase_peaks, phase_scout
from xcoreg.core.matches import Matches
from xcoreg.core.structure import structure_match, structure_scout
from xcoreg.errors import OptionError, is_integer, is_name, is_number, numbers_of, unknown_option

_SMALLEST_WINDOW, _LARGEST_WINDOW, _NARROWEST = 16, 1 << 20, 8  # px, px, and one side over the other
_CONTRASTS = ("same", "reversed", "any")
_OVER_TERRAIN = ("auto", "translation", "affine", "polynomial2", "polynomial3")  # beside which a parallax is fitted
# Matchers of images: intensities, edges, and edges where intensities find nothing.
IMAGES_START = (
    "initial_shift= belongs to elevation matchers that find a shift ('nuth_kaab', 'rigid'): give max_shift= or a "
    "larger window= for images"
)
GEOMETRIES = ("shift", "similarity", "affine", "homography", "auto")
IMAGE_MATCHERS = ("phase", "structure", "auto")

# Options of one shift that a field does not have, and what to use instead.
_SINGLE = {"at": "give points= for places of your own", "windows": "give spacing= for more or fewer",
           "bias": "blocks follow biases by themselves"}  # fmt: skip

Matcher = Callable[..., Any]


class MatchOptions(TypedDict, total=False):
    """Keyword options of `match`, `shift_to` and their like; see :class:`Options` for what they mean."""

    band: int | str | None
    ref_band: int | str | None
    window: int | tuple[int, int] | None
    at: tuple[float, float] | None
    max_shift: float | None
    initial_shift: tuple[float, float] | None
    windows: int
    contrast: Literal["same", "reversed", "any"]
    where: Any
    ref_where: Any
    nodata: float | None
    ref_nodata: float | None
    footprint: Any
    ref_footprint: Any
    matcher: str | Sequence[str] | Matcher
    z: str | None
    geometry: Literal["shift", "similarity", "affine", "homography", "auto"]
    bias: Any
    progress: bool
    errors: Literal["raise", "return"]


class MatchLocalOptions(MatchOptions, total=False):
    """Keyword options of `match_local`, `warp_to` and their like; see :class:`LocalOptions` for what they mean."""

    spacing: float | None
    model: Any
    filters: Sequence[Any]
    points: Any
    terrain: Any
    max_points: int | None


@dataclass(frozen=True, eq=False)
class Options:
    """Checked options.

    Attributes
    ----------
    band, ref_band : int or str, optional
        Band of the target and of the reference: number from 1, label or variable; default the first.
        "auto" takes the pair of bands that correlates best in coarse images.
    window : int or (columns, rows), optional
        Side of the matching windows, px of the matching grid (the coarser of the two images); of a rectangle the part
        of a square of its longer side that counts. Default 256; of overlaps
        of less than 725 px a third, 128 at least or what the overlap holds; larger ones are tried when these fail or
        are few. Elevation matchers use the whole overlap, unless `at` is given.
    at : (x, y), optional
        Centre of the one window to use, CRS units of the target. Default: several windows, chosen for their texture.
    max_shift : float, optional
        Largest correction on each axis, target px. Default: two fifths of the largest window tried.
    initial_shift : (dx, dy), optional
        Of elevation models: where the search for the correction begins, CRS units of the target; `max_shift` counts
        from there. The fit is that of the target as it is, this included.
    windows : int
        Number of windows of the first round; for images alone. By default nine, or five where these settle the shift to
        a few ten-thousandths of a pixel.
    contrast : {"same", "reversed", "any"}
        Whether bright is bright in both images.
    where, ref_where : DataArray, array, geometry, GeoDataFrame or callable, optional
        Use the image only where true (inside); a numpy array has the pixels of the image; see
        :func:`xcoreg.matching.masks.as_mask`, for quality layers :mod:`xcoreg.masks`.
    nodata, ref_nodata : float, optional
        Marker of missing pixels, instead of the stored or found one; may be NaN or -inf.
    footprint, ref_footprint : shapely geometry, WKT, GeoDataFrame or path of a vector file, optional
        Valid area, where it is known already; geometry and WKT in the CRS of the image.
    matcher : "auto", "phase", "structure", name or names of elevation matchers, or callable
        Of images "phase" compares intensities, "structure" the directions of edges, for images that look different
        (radar, maps, heights, other bands), "auto" takes edges where intensities find nothing.
        Of elevation models "nuth_kaab", "vertical", "deramp" or a list of these, or "rigid", see
        :func:`xcoreg.core.dem.parse_terms`. A callable of your own:
        ``matcher(tgt, ref, tgt_valid, ref_valid)`` on arrays (n, rows, cols) -> Matches or (dcol, drow[, cov]).
    z : str, optional
        Column of the heights when the reference is a GeoDataFrame of points; default: their third coordinate, or a
        column called z, height, h, elevation, elev, h_ell or altitude.
    geometry : {"shift", "similarity", "affine", "homography", "auto"}
        What is measured of the whole image: one shift; or rotation by any angle, scale from 0.5 to 2 and shift; an
        affine or perspective distortion on top. "auto" takes the simplest that fits. Of a field: whether rotation and
        scale of any size are looked for and undone before its windows are cut.
    bias : str, DataArray, or a list or mapping of these, optional
        Biases of heights that are fitted together with the shift of elevation models: "along_track", "across_track",
        "elevation", "slope", "curvature", "jitter" (lines that shake along all axes), or images of a variable. Those
        that do not improve check blocks are left out.
    progress : bool
        Show a progress bar on stderr.
    errors : {"raise", "return"}
        Raise MatchError when nothing can be trusted, or return a result that is not ok.
    """

    band: int | str | None = None
    ref_band: int | str | None = None
    window: int | tuple[int, int] | None = None
    at: tuple[float, float] | None = None
    max_shift: float | None = None
    initial_shift: tuple[float, float] | None = None
    windows: int = 9
    contrast: str = "same"
    where: Any = None
    ref_where: Any = None
    nodata: float | None = None
    ref_nodata: float | None = None
    footprint: Any = None
    ref_footprint: Any = None
    matcher: str | Sequence[str] | Matcher = "auto"
    z: str | None = None
    geometry: str = "shift"
    bias: Any = None
    progress: bool = False
    errors: str = "raise"

    @property
    def side(self) -> int | None:
        """Longer side of the windows that are wanted."""
        return None if self.window is None else int(max(np.atleast_1d(self.window)))

    @property
    def part(self) -> tuple[float, float]:
        """Share of the square windows, along (columns, rows), that counts."""
        cols, rows = np.broadcast_to(1 if self.window is None else self.window, 2) / (self.side or 1)
        return float(cols), float(rows)

    @property
    def terms(self) -> Terms | None:
        """What is estimated between two elevation models, None for images."""
        return None if callable(self.matcher) or is_name(self.matcher, IMAGE_MATCHERS) else parse_terms(self.matcher)

    @property
    def start(self) -> tuple[float, float]:
        """Correction where the search begins, CRS units."""
        dx, dy = (0.0, 0.0) if self.initial_shift is None else self.initial_shift
        return float(dx), float(dy)

    def by(self, matcher: str) -> Self:
        """Make options for one of the matchers between which "auto" chooses."""
        if self.matcher != "auto":
            return self
        # Edges have no sign: bright may be dark.
        return replace(self, matcher=matcher, contrast="same" if matcher == "structure" else self.contrast)

    def match_function(self, limit: float | None, pattern: Pattern = NO_PATTERN) -> Matcher:
        """Matcher as a function of a batch of windows, searching within ``limit`` pixels of the matching grid.

        pattern : What both images are known to owe to their pixels.
        """
        if callable(self.matcher):
            return self.matcher
        if self.matcher == "structure":
            return _Structure(limit)
        # Similarities before the shift are computed for every matcher alike, see `match_windows`.
        return partial(phase_match, max_shift=limit, contrast=self.contrast, compare=False, pattern=pattern)

    def scout_function(self, limit: float | None, side: int | None = None) -> Matcher | None:
        """Cheap search for whole pixels (in the central part of windows) that precedes the matcher, if it has one."""
        if callable(self.matcher):
            return None
        if self.matcher == "structure":
            return partial(structure_scout, max_shift=limit)
        return partial(phase_scout, max_shift=limit, contrast=self.contrast, side=side)

    @property
    def peaks(self) -> Callable[[float], Matcher] | None:
        """Function of a limit to one of windows: where the peak of their correlation lies; None of other matchers."""
        if callable(self.matcher) or self.matcher == "structure":
            return None
        return lambda limit: partial(phase_peaks, max_shift=limit, contrast=self.contrast)

    def record(self) -> dict[str, Any]:
        """Options that differ from their defaults, for the result."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not f.default}
        plain = (int, float, str, tuple)
        return {name: one if isinstance(one, plain) else str(one)[:200] for name, one in changed.items()}


@dataclass(frozen=True, eq=False)
class LocalOptions(Options):
    """Checked options of a field of shifts: these, and those of :class:`Options` except `at` and `windows`.

    Attributes
    ----------
    window, max_shift : optional
        As for one shift, but by default 256, less where the overlap is small, and of blocks of elevation models the
        spacing; and as far as the largest windows can be matched.
    spacing : float, optional
        Distance between windows, target px; default 200, less where the overlap is small. Blocks of elevation models
        are stretched a little to overlap_patches all of the overlap.
    model : str or object
        "auto" (by cross-validation), one of :data:`xcoreg.core.models.KINDS`, or an object with
        ``fit(x, y, dx, dy, cov)`` that returns a model. "lines", of images in the geometry of a pushbroom sensor: a
        plane, plus a spline along the track (jitter) and one across it (CCD steps), or the plane alone, or a shift, by
        cross-validation; with windows and a spacing below half of the shortest period.
    filters : sequence of str or callable
        Outlier filters in this order; see :mod:`xcoreg.filters`.
    points : GeoDataFrame, path, TiePoints or (n, 2) array, optional
        Where to match, instead of a grid; whole tie points (with corrections) are not matched again.
    terrain : DataArray, Dataset, path or Terrain, optional
        Heights, or differences between the true heights and those that the image was ortho-rectified over, any CRS
        and pixel size: shifts in proportion to them are allowed for, and used where check points say so. Their
        direction and size are found: ``fit.details.parallax``. With model "auto" or a polynomial.
    max_points : int, optional
        At most so many of these places, evenly spread.
    """

    spacing: float | None = None
    model: Any = "auto"
    filters: Sequence[Any] = ("reliability", "ssim", "neighbours", "model")
    points: Any = None
    terrain: Any = None
    max_points: int | None = None


@dataclass(frozen=True)
class _Structure:
    """The structural matcher; similarity of brightness says nothing about its windows."""

    limit: float | None
    compares: ClassVar[bool] = False

    def __call__(self, tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools) -> Matches:
        """Match a batch of windows."""
        return structure_match(tgt, ref, tgt_valid, ref_valid, max_shift=self.limit)


_Checked = TypeVar("_Checked", bound=Options)
_Function = TypeVar("_Function", bound=Callable[..., Any])


@overload
def check_options(given: dict[str, Any], also: tuple[str, ...] = ()) -> Options: ...
@overload
def check_options(given: dict[str, Any], also: tuple[str, ...] = (), *, kind: type[_Checked]) -> _Checked: ...
def check_options(given: dict[str, Any], also: tuple[str, ...] = (), *, kind: type[Options] = Options) -> Options:
    """Check options as a user gave them."""
    known = [*(f.name for f in fields_of(kind)), *also]
    for name in given:
        if kind is LocalOptions and name in _SINGLE:
            raise OptionError(f"{name}= belongs to match, which uses a few windows: {_SINGLE[name]}")
        if name not in known:
            raise unknown_option(name, known)
    options = kind(**given)
    _check_numbers(options)
    _check_choices(options)
    if isinstance(options, LocalOptions):
        _check_local(options)
    return options


def as_local(options: Options) -> LocalOptions:
    """Options of a field with those of one shift: for raw images, which are matched by windows on a grid."""
    given = {name: getattr(options, name) for name in (f.name for f in fields(Options)) if name not in _SINGLE}
    for name, cure in _SINGLE.items():
        if getattr(options, name) != getattr(Options, name):
            raise OptionError(f"{name}= does not go with dem=: {cure.replace('give', 'use match_local and give')}")
    return LocalOptions(**given)


def fields_of(kind: type[Any]) -> list[Field[Any]]:
    """Fields of a class of options that users can set."""
    return [f for f in fields(kind) if not (kind is LocalOptions and f.name in _SINGLE)]


def shows_options(*kinds: type[Any]) -> Callable[[_Function], _Function]:
    """Show the fields of some classes of options in the signature of a function, in place of its ``**options``."""

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        shown = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
        for field in (field for kind in kinds for field in fields_of(kind)):
            option = inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
            )
            shown.setdefault(field.name, option)
        function.__signature__ = signature.replace(parameters=list(shown.values()))  # type: ignore[attr-defined]
        return function

    return decorate


def _check_numbers(options: Options) -> None:
    # Values may be of any type, whatever the annotations say.
    window: Any = options.window
    windows: Any = options.windows
    progress: Any = options.progress
    if isinstance(options.matcher, np.ndarray):
        raise OptionError(f"matcher is {options.matcher!r:.80}: give a name, a function, or a list of names")
    if not (isinstance(progress, int | np.bool_) or callable(progress)):
        raise OptionError(f"progress is {progress!r:.80}: give True or False")
    limit: Any = options.max_shift
    sides = window if isinstance(window, tuple | list) and len(window) == 2 else [window]
    few, many = _SMALLEST_WINDOW, _LARGEST_WINDOW
    if window is not None and not all(is_integer(side) and few <= side <= many for side in sides):
        limits = f"at least {few} and at most {many}"
        raise OptionError(f"window is {window!r}: give a whole number of pixels, or (columns, rows), {limits}")
    if window is not None and max(sides) > _NARROWEST * min(sides):
        raise OptionError(f"window is {window!r}: give sides of which one is at most {_NARROWEST} times the other")
    if not (is_integer(windows) and windows >= 1):
        raise OptionError(f"windows is {windows!r}: give the number of windows to use, at least 1")
    if limit is not None and not (is_number(limit) and 0 < limit < 2**63):
        raise OptionError(f"max_shift is {limit!r}: give a positive number of target pixels")
    _check_pair("at", options.at, "(x, y), the window's centre in CRS units of the target")
    _check_pair("initial_shift", options.initial_shift, "(dx, dy), a correction in CRS units of the target")


def _check_pair(name: str, given: Any, what: str) -> None:
    if given is not None and not np.isfinite(numbers_of(given, 2) or [np.nan]).all():
        raise OptionError(f"{name} is {given!r}: give {what}")


def _check_local(options: LocalOptions) -> None:
    spacing: Any = options.spacing
    if spacing is not None and not (is_number(spacing) and 1 <= spacing < 2**63):
        raise OptionError(f"spacing is {spacing!r}: give the distance between windows in target pixels, at least 1")
    if not isinstance(options.model, str) and not hasattr(options.model, "fit"):
        raise OptionError(
            f"model is {options.model!r:.80}: give the name of a model, or an object with fit(x, y, dx, dy, cov)"
        )
    if isinstance(options.filters, str) or not isinstance(options.filters, Sequence):
        raise OptionError(f"filters is {options.filters!r}: give a list, such as ['ssim', 'neighbours'], or []")
    if options.terrain is not None and options.terms is not None:
        raise OptionError(
            "terrain= explains shifts of images; elevation models have heights of their own: leave it out"
        )
    if options.terrain is not None and options.model not in _OVER_TERRAIN:
        raise OptionError(f"terrain= goes with model={', '.join(_OVER_TERRAIN)}, not with {options.model!r:.80}")
    most: Any = options.max_points
    if most is not None and not (is_integer(most) and most >= 1):
        raise OptionError(f"max_points is {most!r}: give the largest number of windows, at least 1")
    if options.points is not None and spacing is not None:
        raise OptionError("points= and spacing= both choose where to match: give one of them")


def _check_choices(options: Options) -> None:
    if str(options.contrast) not in _CONTRASTS:
        raise OptionError(f"contrast is {options.contrast!r}: choose from {', '.join(_CONTRASTS)}")
    try:
        terms = options.terms
    except ValueError as error:
        raise OptionError(str(error)) from error
    if options.matcher not in ("phase", "auto") and options.contrast != "same":
        raise OptionError("contrast= is an option of the phase matcher: leave it out with another matcher")
    if terms is not None and options.windows != Options.windows:
        raise OptionError("windows= is an option for images: leave it out, elevation models are compared as a whole")
    if str(options.geometry) not in GEOMETRIES:
        raise OptionError(f"geometry is {options.geometry!r}: choose from {', '.join(GEOMETRIES)}")
    if options.geometry != "shift" and (terms is not None or options.at is not None or options.max_shift is not None):
        raise OptionError(
            "geometry= is measured by many windows of images: leave out at=, max_shift=, elevation matchers"
        )
    shiftless = options.matcher != "auto" and (terms is None or not (terms.shift or terms.rigid))
    if options.initial_shift is not None and shiftless:
        raise OptionError(IMAGES_START)
    if options.bias is not None and (terms is None or terms.rigid or terms.classic):
        raise OptionError("bias= belongs to matcher='nuth_kaab', 'vertical', 'deramp' or a list of these")
    if terms is not None and terms.rigid and isinstance(options, LocalOptions):
        raise OptionError("matcher='rigid' is one motion for the whole overlap: use match, or 'nuth_kaab' for blocks")
    if str(options.errors) not in ("raise", "return"):
        raise OptionError(f"errors is {options.errors!r}: choose 'raise' or 'return'")
    if not callable(options.matcher) and terms is None and options.matcher not in IMAGE_MATCHERS:
        names = ", ".join(repr(name) for name in (*IMAGE_MATCHERS, *ELEVATION_MATCHERS))
        raise OptionError(f"matcher is {options.matcher!r}: choose {names} or pass a function over batches of windows")
