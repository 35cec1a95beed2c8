"""AROSICS in a process and an environment of its own: reads names of pickled pairs, prints milliseconds and shift.

A pair is (reference, target, geotransform, CRS as WKT); see `small.py --arosics PYTHON`. Reading is not counted.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

warnings.simplefilter("ignore")

from osgeo import gdal  # noqa: E402


@contextlib.contextmanager
def _config_options(options: dict[str, str], **_: object) -> Iterator[None]:
    """Set options of GDAL for a while, as its bindings do from 3.7 on."""
    before = {name: gdal.GetConfigOption(name) for name in options}
    for name, value in options.items():
        gdal.SetConfigOption(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            gdal.SetConfigOption(name, value)


if not hasattr(gdal, "config_options"):
    gdal.config_options = _config_options

from arosics import COREG  # noqa: E402
from geoarray import GeoArray  # noqa: E402


def main() -> None:
    """Match pair after pair; `nan` where there is no answer."""
    for line in sys.stdin:
        ref, tgt, transform, crs = pickle.loads(Path(line.strip()).read_bytes())
        start = time.process_time()
        try:
            job = COREG(
                GeoArray(ref, transform, crs),
                GeoArray(tgt, transform, crs),
                q=True,
                progress=False,
                CPUs=1,
                max_shift=10,
            )
            job.calculate_spatial_shifts()
            shift = job.x_shift_px, job.y_shift_px
        except (RuntimeError, ValueError, AssertionError) as error:
            print(error, file=sys.stderr)
            shift = float("nan"), float("nan")
        print(1e3 * (time.process_time() - start), *shift, flush=True)


if __name__ == "__main__":
    main()
