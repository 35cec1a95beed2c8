"""`band="auto"`: the pair of bands that carries most, by the correlation of coarse images."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from xarray import DataArray, Dataset

from xcoreg.core import Bools, Floats
from xcoreg.core.peaks import correlate
from xcoreg.core.structure import Side, correlation_peaks
from xcoreg.errors import OptionError
from xcoreg.matching.cutter import Cut
from xcoreg.matching.options import Options
from xcoreg.matching.placing import coarse_images
from xcoreg.matching.scene import prepare
from xcoreg.raster.bands import count_bands
from xcoreg.raster.raster import Raster, make_raster

logger = logging.getLogger("xcoreg")

AUTO_BAND = "auto"
_MOST = 16  # bands of an image that are tried
_CLEAR = -12.0  # chance (log10) of the best pair of intensities above which edges decide
_REACH = 0.25  # share of the coarse images' side that is searched

_Kind = TypeVar("_Kind", bound=Options)


def with_bands(target: DataArray | Dataset, reference: DataArray | Dataset, options: _Kind) -> _Kind:
    """Replace "auto" by the numbers of the bands that match best."""
    tgt_bands = _bands(target, options.band, options.nodata, "target")
    ref_bands = _bands(reference, options.ref_band, options.ref_nodata, "reference")
    scene = prepare(target, reference, replace(options, band=tgt_bands[0][0], ref_band=ref_bands[0][0]))
    _, tgt, ref = coarse_images(scene, [raster for _, raster in tgt_bands], [raster for _, raster in ref_bands])
    chance = _chances(_stacked(tgt), _stacked(ref), options)
    best = np.unravel_index(int(chance.argmin()), chance.shape)
    band, ref_band = tgt_bands[best[0]][0], ref_bands[best[1]][0]
    logger.info("bands %s and %s match best, log10 of the chance %.1f", band, ref_band, chance.min())
    return replace(options, band=band, ref_band=ref_band)


def _bands(image: Any, band: Any, nodata: float | None, name: str) -> list[tuple[Any, Raster]]:
    """Bands that are tried, and their rasters, without those that cannot be matched: alpha bands, complex numbers."""
    found = []
    for one in range(1, min(count_bands(image, name), _MOST) + 1) if band == AUTO_BAND else [band]:
        with suppress(OptionError):
            found.append((one, make_raster(image, band=one, nodata=nodata, name=name, search=False)))
    # Without any, the first one says why.
    return found or [(1, make_raster(image, band=1, nodata=nodata, name=name, search=False))]


def _stacked(cuts: list[Cut]) -> tuple[Floats, Bools]:
    return np.concatenate([cut.values for cut in cuts]), np.concatenate([cut.valid for cut in cuts])


def _chances(tgts: tuple[Floats, Bools], refs: tuple[Floats, Bools], options: Options) -> Floats:
    """Logarithms of the chances (targets, references) that the best shift of two coarse bands is an accident."""
    n, m = len(tgts[0]), len(refs[0])
    one, two = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    both = tgts[0][one], refs[0][two], tgts[1][one], refs[1][two]
    limit = _REACH * both[0].shape[1]
    chance: Floats = np.zeros(n * m)
    if options.matcher != "structure":
        chance = correlate(*both, max_shift=limit, contrast=options.contrast).log10_chance
    if options.matcher == "structure" or (options.matcher == "auto" and chance.min() > _CLEAR):
        chance = correlation_peaks(Side.of(both[0], both[2]), Side.of(both[1], both[3]), limit).log10_chance
    return np.asarray(chance.reshape(n, m))
