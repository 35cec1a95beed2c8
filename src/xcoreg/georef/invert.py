"""From the ground back to the image: a map solved for its argument, point by point."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from xcoreg.georef.surfaces import Polynomial, exponents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.georef.surfaces import Surface

    Floats: TypeAlias = "NDArray[np.float64]"

__all__ = ["first_guess", "solve"]

_STEPS = 25
_LONGEST = 0.5  # of a step, scaled units: a quarter of the image
_CHUNK = 1 << 14  # points worked on at once: the temporaries stay in the processor's cache
_FAR = 3.0  # scaled units: beyond it the cubic guess is of no use


def first_guess(surface: Surface, side: float = 1.1, order: int = 3) -> tuple[Polynomial, Polynomial]:
    """Make cheap guesses of the inverse: a plane, and a cubic that is good inside.

    Parameters
    ----------
    surface : Surface
        From scaled image to scaled ground coordinates.
    side : float
        Half the side of the image square over which they are fitted.
    order : int
        Of the finer guess.

    Returns
    -------
    plane, fine : Polynomial
        From scaled ground to scaled image coordinates.
    """
    u, v = (axis.ravel() for axis in np.meshgrid(*2 * [np.linspace(-side, side, 12)]))
    x, y = surface.at(u, v)
    known = np.isfinite(x) & np.isfinite(y)
    goal = np.stack([u, v], axis=-1)[known]
    guesses = []
    for degree in (1, order):
        terms = np.stack([x[known] ** i * y[known] ** j for i, j in exponents(degree)], axis=-1)
        guesses.append(Polynomial(degree, np.asarray(np.linalg.lstsq(terms, goal, rcond=None)[0], np.float64)))
    return guesses[0], guesses[1]


def solve(
    surface: Surface, x: Floats, y: Floats, guesses: tuple[Polynomial, Polynomial], tolerance: float
) -> tuple[Floats, Floats]:
    """Find the image coordinates that a map carries to given ground coordinates, by Newton's steps.

    Parameters
    ----------
    surface : Surface
        From scaled image to scaled ground coordinates.
    x, y : (n,) float
        Scaled ground coordinates.
    guesses : (Polynomial, Polynomial)
        From :func:`first_guess`.
    tolerance : float
        Length of the last step, scaled image units.

    Returns
    -------
    u, v : (n,) float64
        NaN where the steps do not come to rest. Each point's outcome depends on that point alone.

    Examples
    --------
    >>> plane = Polynomial(1, np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 4.0]]))
    >>> u, v = solve(plane, np.array([2.0]), np.array([1.0]), first_guess(plane), 1e-9)
    >>> u.round(9), v.round(9)
    (array([0.5]), array([0.25]))
    """
    u, v = np.empty(x.shape), np.empty(x.shape)
    for start in range(0, x.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        u[part], v[part] = _solve_part(surface, x[part], y[part], guesses, tolerance)
    return u, v


def _solve_part(
    surface: Surface, x: Floats, y: Floats, guesses: tuple[Polynomial, Polynomial], tolerance: float
) -> tuple[Floats, Floats]:
    with np.errstate(all="ignore"):  # what runs away is found by not being finite
        u, v = _start(x, y, guesses)
        out_u, out_v = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        at = np.flatnonzero(np.isfinite(u) & np.isfinite(v))
        u, v, x, y = u[at], v[at], x[at], y[at]
        for _ in range(_STEPS):
            du, dv = _step(surface, u, v, x, y)
            length = np.hypot(du, dv)
            # Far from the solution a full step may overshoot.
            short = np.minimum(1.0, _LONGEST / np.maximum(length, 1e-300))
            u, v = u + short * du, v + short * dv
            done = length < tolerance
            out_u[at[done]], out_v[at[done]] = u[done], v[done]
            left = ~done & np.isfinite(length)
            if not left.any():
                break
            if not left.all():
                at, u, v, x, y = at[left], u[left], v[left], x[left], y[left]
    return out_u, out_v


def _start(x: Floats, y: Floats, guesses: tuple[Polynomial, Polynomial]) -> tuple[Floats, Floats]:
    plane, fine = guesses
    u, v = fine.at(x, y)
    far = ~((np.abs(u) < _FAR) & (np.abs(v) < _FAR))
    if far.any():
        u[far], v[far] = plane.at(x[far], y[far])
    return u, v


def _step(surface: Surface, u: Floats, v: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    at_x, at_y = surface.at(u, v)
    xu, xv, yu, yv = surface.slopes(u, v)
    miss_x, miss_y = x - at_x, y - at_y
    det = xu * yv - xv * yu
    return (yv * miss_x - xv * miss_y) / det, (xu * miss_y - yu * miss_x) / det
