"""Errors of elevation models from residuals: their size by slope, and how far they are correlated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.dem.classic import slope_azimuth
from xcoreg.core.dem.covariance import autocorrelation
from xcoreg.core.dem.equations import Equations, spread_of
from xcoreg.core.dem.observations import Observation, Samples

_EDGES = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 90.0)  # degrees
_FEWEST = 50  # residuals of a class


@dataclass(frozen=True)
class Noise:
    """Standard deviation by slope, and correlation of standardised residuals by distance.

    slopes, sigma : Median slope (degrees) of classes, and NMAD of the residuals in the unit of the heights.
    correlation : At distances of 0, 1, 2 ... px, until there is none.
    """

    slopes: tuple[float, ...] = ()
    sigma: tuple[float, ...] = ()
    correlation: tuple[float, ...] = (1.0,)

    def at(self, slope: Floats) -> Floats:
        """Interpolate standard deviations at slopes, degrees."""
        if not self.slopes:
            return np.full(np.shape(slope), np.nan)
        return np.asarray(np.interp(slope, self.slopes, self.sigma))

    @property
    def area(self) -> float:
        """Area over which errors are one, px²: the integral of the correlation."""
        lags = np.arange(len(self.correlation))
        return float(1 + (2 * np.pi * lags * np.array(self.correlation)).sum())


def describe_noise(
    samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations, to_metres: Floats | None
) -> Noise:
    """Describe residuals by the slope (mean of both models), and their correlation once divided by that."""
    slopes = [np.degrees(np.arctan(slope_azimuth(one.col, one.row, to_metres)[0])) for one in observations]
    every, rest = np.concatenate(slopes), np.concatenate(equations.residuals)
    classes = np.digitize(every, _EDGES[1:-1])
    usable = [k for k in range(len(_EDGES) - 1) if np.count_nonzero(classes == k) >= _FEWEST]
    if not usable:
        return Noise()
    middle = tuple(float(np.median(every[classes == k])) for k in usable)
    sigma = tuple(spread_of([rest[classes == k]]).nmad for k in usable)
    noise = Noise(middle, sigma)
    fields = []
    for one, obs, residual, slope in zip(samples, observations, equations.residuals, slopes, strict=True):
        scaled = np.clip((residual - np.median(rest)) / np.maximum(noise.at(slope), 1e-9), -4, 4)
        fields.append((one.shape, obs.at, scaled))
    return Noise(middle, sigma, (1.0, *autocorrelation(fields)))
