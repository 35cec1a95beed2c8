"""Rational polynomial coefficients (RPC00B): projection in numpy, its inverse by Newton, and refitting.

``line = line_off + line_scale * N(P, L, H) / D(P, L, H)`` and the same for samples, of normalised latitude P, longitude
L and ellipsoidal height H; an integer line or sample is the centre of a pixel. Every operation acts on each point by
itself, so that results do not depend on which points are asked for together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    Unproject = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]

_STEPS, _CONVERGED = 50, 1e-9  # Newton steps, px
_LONGEST_STEP = 0.5  # of the normalised coordinates in one step: far from the solution a rational function has poles
_GRID = (21, 21, 7)  # rows, columns and heights at which coefficients are fitted again
_RIDGE = 1e-9  # weight of the coefficients before, which decides between those that the grid does not tell apart
_ROUNDS = 4
_CHECKED = 4000  # places at which the fit is compared with the sensor model


@dataclass(frozen=True)
class RPCModel:
    """Rational polynomial coefficients of an image.

    Parameters
    ----------
    line_off, samp_off, lat_off, long_off, height_off : float
        Offsets: px, degrees (WGS 84), m above the ellipsoid.
    line_scale, samp_scale, lat_scale, long_scale, height_scale : float
        Scales of the normalised coordinates, in the same units.
    line_num_coeff, line_den_coeff, samp_num_coeff, samp_den_coeff : 20 floats
        In the order of RPC00B: 1, L, P, H, LP, LH, PH, LL, PP, HH, PLH, LLL, LPP, LHH, LLP, PPP, PHH, LLH, PPH, HHH.
    err_bias, err_rand : float, optional
        Errors that the maker states, m.

    Notes
    -----
    NIMA (2000), The Compendium of Controlled Extensions for NITF 2.1, STDI-0002, RPC00B.
    """

    line_off: float
    samp_off: float
    lat_off: float
    long_off: float
    height_off: float
    line_scale: float
    samp_scale: float
    lat_scale: float
    long_scale: float
    height_scale: float
    line_num_coeff: tuple[float, ...]
    line_den_coeff: tuple[float, ...]
    samp_num_coeff: tuple[float, ...]
    samp_den_coeff: tuple[float, ...]
    err_bias: float | None = None
    err_rand: float | None = None

    def __post_init__(self) -> None:
        for name in _NAMES[:10]:
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in _NAMES[10:14]:
            coefs = tuple(float(value) for value in getattr(self, name))
            if len(coefs) != 20 or not np.isfinite(coefs).all():
                raise OptionError(f"RPCs have 20 finite numbers {name}, not {len(coefs)}: check their file")
            object.__setattr__(self, name, coefs)
        if not all(np.isfinite(getattr(self, name)) for name in _NAMES[:10]):
            raise OptionError("the offsets and scales of RPCs must be finite: check their file")
        if not all(getattr(self, name) for name in _NAMES[5:10]):
            raise OptionError("no scale of RPCs may be 0: check their file")

    @classmethod
    def of(cls, rpcs: Any) -> RPCModel:
        """Make a model of the RPCs of rasterio, or of anything with their attributes.

        Parameters
        ----------
        rpcs : rasterio.rpc.RPC or RPCModel

        Returns
        -------
        RPCModel
        """
        values: dict[str, Any] = {name: getattr(rpcs, name, None) for name in _NAMES}
        return rpcs if isinstance(rpcs, cls) else cls(**values)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RPCModel:
        """Undo :meth:`to_dict`."""
        values: dict[str, Any] = {name: data.get(name) for name in _NAMES}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Give offsets, scales and coefficients by name, as plain JSON types."""
        return {name: list(one) if isinstance(one := getattr(self, name), tuple) else one for name in _NAMES}

    def project(self, lon: ArrayLike, lat: ArrayLike, height: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of places.

        Parameters
        ----------
        lon, lat : float or array
            Degrees on WGS 84.
        height : float or array
            m above the ellipsoid.

        Returns
        -------
        col, row : float64, the broadcast shape
            An integer is the centre of a pixel; NaN where the input is NaN or infinite.
        """
        at = self._normalized(lon, lat, height)
        with np.errstate(all="ignore"):
            samp = _polynomial(self.samp_num_coeff, *at) / _polynomial(self.samp_den_coeff, *at)
            line = _polynomial(self.line_num_coeff, *at) / _polynomial(self.line_den_coeff, *at)
            col, row = self.samp_off + self.samp_scale * samp, self.line_off + self.line_scale * line
        return _known(col, row)

    def unproject(self, col: ArrayLike, row: ArrayLike, height: ArrayLike) -> tuple[Floats, Floats]:
        """Places of pixel positions at known heights, by Newton's method; the inverse of :meth:`project`.

        Parameters
        ----------
        col, row : float or array
            An integer is the centre of a pixel.
        height : float or array
            m above the ellipsoid.

        Returns
        -------
        lon, lat : float64, the broadcast shape
            Degrees on WGS 84, exact to 1e-9 px; NaN where no place is found.
        """
        cols, rows, heights = np.broadcast_arrays(*(np.asarray(one, np.float64) for one in (col, row, height)))
        shape = cols.shape
        wanted = np.stack(
            [(cols.ravel() - self.samp_off) / self.samp_scale, (rows.ravel() - self.line_off) / self.line_scale]
        )
        h = (heights.ravel() - self.height_off) / self.height_scale
        near = np.array([[_CONVERGED / abs(self.samp_scale)], [_CONVERGED / abs(self.line_scale)]])
        found, solved = self._start(wanted, h), np.zeros(h.size, bool)
        moving = np.flatnonzero(np.isfinite(found).all(axis=0) & np.isfinite(wanted).all(axis=0) & np.isfinite(h))
        with np.errstate(all="ignore"):
            for _ in range(_STEPS):
                step, missed = self._newton_step(found[:, moving], h[moving], wanted[:, moving])
                good = (np.abs(missed) <= near).all(axis=0)
                solved[moving[good]] = True
                found[:, moving] += step
                moving = moving[~good & np.isfinite(step).all(axis=0)]
                if not moving.size:
                    break
        # What ends within a millionth of a pixel only has reached the precision of its digits.
        _, missed = self._newton_step(found, h, wanted)
        solved |= (np.abs(missed) <= 1e3 * near).all(axis=0)
        lon = np.where(solved, self.long_off + self.long_scale * found[0], np.nan)
        lat = np.where(solved, self.lat_off + self.lat_scale * found[1], np.nan)
        return lon.reshape(shape), lat.reshape(shape)

    def _normalized(self, lon: ArrayLike, lat: ArrayLike, height: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Longitudes within half a turn of the image, latitudes and heights, normalised."""
        east = np.asarray(lon, np.float64) - self.long_off
        with np.errstate(invalid="ignore"):
            east = east - 360.0 * np.round(east / 360.0)
        north, up = np.asarray(lat, np.float64) - self.lat_off, np.asarray(height, np.float64) - self.height_off
        return east / self.long_scale, north / self.lat_scale, up / self.height_scale

    def _start(self, wanted: Floats, h: Floats) -> Floats:
        """Normalised places (2, n) by the linear part at the centre."""
        zero = np.zeros(1)
        jacobian, value = self._slopes(np.zeros((2, 1)), zero)
        matrix = jacobian[:, :, 0]
        up = (np.array([self._values(np.zeros((2, 1)), zero + 0.5)]).reshape(2) - value[:, 0]) * 2
        at = wanted - value - up[:, None] * h
        try:
            return np.asarray(np.linalg.solve(matrix, np.eye(2)) @ np.clip(at, -3, 3))
        except np.linalg.LinAlgError:
            return np.zeros_like(wanted)

    def _values(self, at: Floats, h: Floats) -> Floats:
        """Normalised samples and lines (2, n) of normalised places."""
        here = (at[0], at[1], h)
        samp = _polynomial(self.samp_num_coeff, *here) / _polynomial(self.samp_den_coeff, *here)
        return np.stack([samp, _polynomial(self.line_num_coeff, *here) / _polynomial(self.line_den_coeff, *here)])

    def _slopes(self, at: Floats, h: Floats) -> tuple[Floats, Floats]:
        """Slopes (2, 2, n) of normalised samples and lines by normalised longitude and latitude, and their values."""
        pairs = ((self.samp_num_coeff, self.samp_den_coeff), (self.line_num_coeff, self.line_den_coeff))
        out, values = np.empty((2, 2, at.shape[1])), np.empty((2, at.shape[1]))
        for i, (num, den) in enumerate(pairs):
            above, below = _polynomial(num, at[0], at[1], h), _polynomial(den, at[0], at[1], h)
            values[i] = above / below
            by = zip(_gradient(num, at[0], at[1], h), _gradient(den, at[0], at[1], h), strict=True)
            for j, (top, bottom) in enumerate(by):
                out[i, j] = (top - values[i] * bottom) / below
        return out, values

    def _newton_step(self, at: Floats, h: Floats, wanted: Floats) -> tuple[Floats, Floats]:
        """Step (2, n) towards wanted samples and lines, and what is missing of them, normalised."""
        with np.errstate(all="ignore"):
            ((a, b), (c, d)), values = self._slopes(at, h)
            missed = wanted - values
            scale = a * d - b * c
            step = np.stack([d * missed[0] - b * missed[1], a * missed[1] - c * missed[0]]) / scale
        return np.clip(step, -_LONGEST_STEP, _LONGEST_STEP), missed


_NAMES = tuple(field.name for field in fields(RPCModel))


def _known(one: Floats, two: Floats) -> tuple[Floats, Floats]:
    unknown = ~(np.isfinite(one) & np.isfinite(two))
    if not unknown.any():
        return one, two
    return np.where(unknown, np.nan, one), np.where(unknown, np.nan, two)


def _polynomial(c: tuple[float, ...], x: Floats, y: Floats, h: Floats) -> Floats:
    """Cubic of RPC00B in longitude x, latitude y and height h, by Horner's scheme in h."""
    flat = c[0] + x * (c[1] + x * (c[7] + x * c[11]) + y * (c[4] + x * c[14] + y * c[12]))
    flat = flat + y * (c[2] + y * (c[8] + y * c[15]))
    once = c[3] + x * (c[5] + x * c[17] + y * c[10]) + y * (c[6] + y * c[18])
    twice = c[9] + x * c[13] + y * c[16]
    return np.asarray(flat + h * (once + h * (twice + h * c[19])))


def _gradient(c: tuple[float, ...], x: Floats, y: Floats, h: Floats) -> tuple[Floats, Floats]:
    """Slopes of the cubic by longitude and latitude."""
    by_x = c[1] + x * (2 * c[7] + 3 * x * c[11]) + y * (c[4] + 2 * x * c[14] + y * c[12])
    by_x = by_x + h * (c[5] + 2 * x * c[17] + y * c[10] + h * c[13])
    by_y = c[2] + y * (2 * c[8] + 3 * y * c[15]) + x * (c[4] + x * c[14] + 2 * y * c[12])
    by_y = by_y + h * (c[6] + 2 * y * c[18] + x * c[10] + h * c[16])
    return by_x, by_y


def _terms(x: Floats, y: Floats, h: Floats) -> Floats:
    """Evaluate the 20 terms (n, 20) of the cubic."""
    one = np.ones_like(x)
    first = [one, x, y, h, x * y, x * h, y * h, x * x, y * y, h * h, x * y * h]
    second = [x**3, x * y * y, x * h * h, x * x * y, y**3, y * h * h, x * x * h, y * y * h, h**3]
    return np.stack(first + second, axis=-1)


@dataclass(frozen=True)
class RPCRefit:
    """Refitted RPCs and how well they repeat the sensor model that they stand for.

    Parameters
    ----------
    rpcs : RPCModel
    rms, largest : float
        Root mean square and largest radial difference at random places of the image, px.
    """

    rpcs: RPCModel
    rms: float
    largest: float


def refit_rpcs(
    rpcs: Any, unproject: Unproject, shape: tuple[int, int], heights: tuple[float, float] | None = None
) -> RPCRefit:
    """Fit RPCs to a sensor model, as to RPCs with a correction in image space.

    Parameters
    ----------
    rpcs : RPCModel or rasterio.rpc.RPC
        Of which offsets and scales are taken over, and the coefficients as a start.
    unproject : callable
        ``(col, row, height) -> (lon, lat)`` of the sensor model.
    shape : (rows, columns)
        Of the image.
    heights : (float, float), optional
        Range in which they hold, m above the ellipsoid; default: one height scale about the height offset.

    Returns
    -------
    RPCRefit

    Raises
    ------
    OptionError
        When the sensor model has no places on the image.

    Notes
    -----
    Linear least squares over a grid of rows, columns and heights, weighted anew by the denominators (Tao & Hu 2001),
    with a weak ridge towards the coefficients before. Checked at random places.
    """
    model = RPCModel.of(rpcs)
    low, high = heights or (model.height_off - abs(model.height_scale), model.height_off + abs(model.height_scale))
    grid = _grid(shape, (low, high))
    at = model._normalized(*_places(unproject, grid), grid[2])
    wanted = (grid[0] - model.samp_off) / model.samp_scale, (grid[1] - model.line_off) / model.line_scale
    terms = _terms(*at)
    samp = _refit(terms, wanted[0], np.array(model.samp_num_coeff), np.array(model.samp_den_coeff))
    line = _refit(terms, wanted[1], np.array(model.line_num_coeff), np.array(model.line_den_coeff))
    names = ("samp_num_coeff", "samp_den_coeff", "line_num_coeff", "line_den_coeff")
    coefs: dict[str, Any] = {name: tuple(c.tolist()) for name, c in zip(names, (*samp, *line), strict=True)}
    made = replace(model, **coefs)
    check = _check_places(shape, (low, high))
    col, row = made.project(*_places(unproject, check), check[2])
    off = np.hypot(col - check[0], row - check[1])
    return RPCRefit(made, float(np.sqrt(np.mean(off * off))), float(off.max()))


def _grid(shape: tuple[int, int], heights: tuple[float, float]) -> tuple[Floats, ...]:
    """Columns, rows and heights (n,) of a grid over an image."""
    ends = ((-0.5, shape[0] - 0.5), (-0.5, shape[1] - 0.5), heights)
    lines = [np.linspace(low, high, n) for (low, high), n in zip(ends, _GRID, strict=True)]
    row, col, height = np.meshgrid(*lines, indexing="ij")
    return col.ravel(), row.ravel(), height.ravel()


def _check_places(shape: tuple[int, int], heights: tuple[float, float]) -> tuple[Floats, ...]:
    """Columns, rows and heights (n,) over an image, at random: a grid would miss what repeats with its step."""
    low, high = np.array([-0.5, -0.5, heights[0]]), np.array([shape[1] - 0.5, shape[0] - 0.5, heights[1]])
    return tuple((low + (high - low) * np.random.default_rng(0).random((_CHECKED, 3))).T)


def _places(unproject: Unproject, grid: tuple[Floats, ...]) -> tuple[Floats, Floats]:
    lon, lat = unproject(*grid)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise OptionError("parts of the image have no place by the sensor model: check its RPCs and the height range")
    return lon, lat


def _refit(terms: Floats, wanted: Floats, num: Floats, den: Floats) -> tuple[Floats, Floats]:
    """Coefficients of numerator and denominator, whose first stays 1: terms (n, 20), wanted (n,)."""
    num, den = num / den[0], den / den[0]
    before = np.concatenate([num, den[1:]])
    ridge = np.sqrt(_RIDGE * len(wanted)) * 1e-3
    for _ in range(_ROUNDS):
        weight = 1 / (terms @ den)
        design = np.concatenate([terms, -wanted[:, None] * terms[:, 1:]], axis=1) * weight[:, None]
        left = wanted * weight - design @ before
        # Solving for the change of the coefficients before keeps the digits that the change does not touch.
        tall = np.concatenate([design, ridge * np.eye(len(before))])
        found = before + np.linalg.lstsq(tall, np.concatenate([left, np.zeros(len(before))]), rcond=None)[0]
        num, den = found[:20], np.concatenate([[1.0], found[20:]])
    return num, den


def shifted(rpcs: RPCModel, dcol: float, drow: float) -> RPCModel:
    """RPCs of an image whose pixels are (dcol, drow) px further than they say: exact, in the offsets alone."""
    return replace(rpcs, samp_off=rpcs.samp_off + dcol, line_off=rpcs.line_off + drow)


def in_height_range(rpcs: RPCModel, heights: NDArray[Any]) -> bool:
    """Whether heights, m, lie where the RPCs were fitted, a tenth of the range beyond it allowed."""
    return bool((np.abs(heights - rpcs.height_off) <= 1.1 * abs(rpcs.height_scale)).all())
