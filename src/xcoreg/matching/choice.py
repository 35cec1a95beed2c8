"""`band="auto"`: the pair of bands that carries most, by the correlation of coarse images."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from xarray import DataArray, Dataset

from xcoreg.core import Floats
from xcoreg.core.phase import correlate
from xcoreg.core.structure import correlation_peaks
from xcoreg.errors import OptionError
from xcoreg.matching.options import Options
from xcoreg.matching.placing import coarse_images
from xcoreg.matching.scene import prepare
from xcoreg.raster.bands import count_bands
from xcoreg.raster.raster import Raster, make_raster

logger = logging.getLogger("xcoreg")

_AUTO, _PARTS = "auto", ("values", "valid")
_MOST = 16  # bands of an image that are tried
_CLEAR = -12.0  # chance (log10) of the best pair of intensities above which edges decide
_REACH = 0.25  # share of the coarse images' side that is searched

_Kind = TypeVar("_Kind", bound=Options)


def with_bands(target: DataArray | Dataset, reference: DataArray | Dataset, options: _Kind) -> _Kind:
    """Replace "auto" by the numbers of the bands that match best."""
    if _AUTO not in (options.band, options.ref_band):
        return options
    images = {
        "target": (target, options.band, options.nodata),
        "reference": (reference, options.ref_band, options.ref_nodata),
    }
    numbers, rasters = [], []
    for name, (image, band, nodata) in images.items():
        wanted = range(1, min(count_bands(image, name), _MOST) + 1) if band == _AUTO else [band]
        found = [(one, _raster(image, one, nodata, name)) for one in wanted]
        numbers.append([one for one, raster in found if raster is not None])
        rasters.append([raster for _, raster in found if raster is not None])
    scene = prepare(target, reference, replace(options, band=numbers[0][0], ref_band=numbers[1][0]))
    _, tgt, ref = coarse_images(scene, *rasters)
    stacks = [
        [np.concatenate([getattr(cut, part) for cut in cuts]) for part in ("values", "valid")] for cuts in (tgt, ref)
    ]
    chance = _chances(*stacks[0], *stacks[1], options)
    best = np.unravel_index(int(chance.argmin()), chance.shape)
    band, ref_band = (one[at] for one, at in zip(numbers, best, strict=True))
    logger.info("bands %s and %s match best, log10 of the chance %.1f", band, ref_band, chance.min())
    return replace(options, band=band, ref_band=ref_band)


def _raster(image: Any, band: Any, nodata: float | None, name: str) -> Raster | None:
    """One band, None where it cannot be matched: an alpha band, complex numbers."""
    try:
        return make_raster(image, band=band, nodata=nodata, name=name, search=False)
    except OptionError:
        return None


def _chances(tgt: Floats, tgt_valid: Any, ref: Floats, ref_valid: Any, options: Options) -> Floats:
    """Logarithms of the chances (targets, references) that the best shift of two coarse bands is an accident."""
    n, m = len(tgt), len(ref)
    one, two = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    both = tgt[one], ref[two], tgt_valid[one], ref_valid[two]
    limit = _REACH * tgt.shape[1]
    chance = np.zeros(n * m)
    if options.matcher != "structure":
        chance = correlate(*both, max_shift=limit, contrast=options.contrast).log10_chance
    if options.matcher == "structure" or (options.matcher == "auto" and chance.min() > _CLEAR):
        chance = correlation_peaks(*both, limit).log10_chance
    return np.asarray(chance.reshape(n, m))
