"""Move a big GeoTIFF in place with two versions of xcoreg, file to file.

Every run is a process of its own, interpreter start included; the versions take turns. The files are made once under
--cache: plain (tiled, deflated, nodata), with overviews, and with an internal mask instead of nodata. `--against` is
the `src` folder of the other version, which has to run in the same environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import rasterio
from common import CACHE, NORTH_UP, Report, arguments, fit
from process import attempt
from warping import CRS, LAYOUT, make, scene

from xcoreg.core.models.base import Translation

HERE = Path(__file__).resolve().parents[1] / "src"
COMMAND = "import sys; from xcoreg.cli import main; sys.exit(main())"


def with_mask(path: Path, size: int, seed: int) -> None:
    """Write the scene with an internal mask."""
    values = scene(size, seed)
    profile = {**LAYOUT, "height": size, "width": size, "count": 1, "dtype": "uint16", "crs": CRS}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", transform=NORTH_UP, **profile) as file:
        file.write(values, 1)
        file.write_mask(values > 0)


def with_overviews(path: Path, size: int, seed: int) -> None:
    """Write the scene with four overviews inside."""
    make(path, size, seed)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8, 16])


KINDS: dict[str, Callable[[Path, int, int], None]] = {
    "nodata": make, "overviews": with_overviews, "mask": with_mask,
}  # fmt: skip


def files(cache: Path, size: int, seed: int) -> dict[str, Path]:
    """Make the files that are not there."""
    paths = {kind: cache / f"moving_{kind}_{size}_{seed}.tif" for kind in KINDS}
    for kind, path in paths.items():
        if not path.exists():
            partial = path.with_suffix(".new.tif")
            KINDS[kind](partial, size, seed)
            partial.replace(path)
    return paths


def compare(versions: dict[str, Path], times: int, out: Path, *words: str | Path) -> dict[str, Any]:
    """Medians of what the versions take for one command, and the ratios of the first to the last."""
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in versions}
    for _ in range(times):
        for name, src in versions.items():
            program = ["/usr/bin/env", f"PYTHONPATH={src}", sys.executable, "-W", "ignore", "-c", COMMAND]
            done = attempt(*program, *words)
            if done.trouble:
                raise SystemExit(f"{name}: {done.trouble}")
            out.unlink(missing_ok=True)
            runs[name].append((done.seconds, done.processor, done.megabytes))
    row: dict[str, Any] = {}
    middle = {name: [median(run[i] for run in of) for i in range(3)] for name, of in runs.items()}
    for i, what in enumerate(("s", "processor s", "peak MB")):
        row |= {f"{what}, {name}": of[i] for name, of in middle.items()}
        here, *others = (of[i] for of in middle.values())
        row |= {f"{what}, ratio": here / other for other in others}
    return row


def main() -> None:
    more = {
        "size": {"type": int, "help": "side of the scene, px; default 10980"},
        "times": {"type": int, "default": 7, "help": "runs of each version"},
        "against": {"type": Path, "help": "src folder of another version"},
    }
    args = arguments(__doc__ or "", cache=CACHE, **more)
    size = args.size or (2000 if args.quick else 10980)
    args.cache.mkdir(parents=True, exist_ok=True)
    versions = {"here": HERE} | ({"before": args.against} if args.against else {})
    report, record = Report("Moving a GeoTIFF in place"), args.cache / "moving_fit.json"
    paths, out = files(args.cache, size, args.seed), args.cache / "moving_out.tif"
    fit(Translation(35.0, -22.5), (size, size)).save(record)
    record.write_text(record.read_text().replace(', "unit_z": ""', ""))  # unknown to versions before it
    rows = [
        {"file": kind, **compare(versions, args.times, out, "apply", record, path, out, "--quiet", "--overwrite")}
        for kind, path in paths.items()
    ]
    report.table(f"xcoreg apply, {size} x {size} uint16", rows, "Wanted: ratios of at most 1.05 for the plain file.")
    report.write(args.out)


if __name__ == "__main__":
    main()
