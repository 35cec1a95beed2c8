"""Elevation models of some kinds as files, and what xDEM makes of them, by the error of its correction.

Two steps, since xDEM need not be installed beside xcoreg: `dem_xdem.py --parts write` with xcoreg, then
`dem_xdem.py --parts run` in an environment with xdem (0.2.3 was used), of which nothing else is asked for.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

KINDS = (
    "base",
    "long",
    "two ranges",
    "glaciers",
    "spikes 10",
    "spikes 20",
    "turned 0.1",
    "turned 0.5",
    "tilt",
    "40 px",
)


def write(folder: Path, n: int) -> None:
    """Write pairs, stable terrain and the truth, and what xcoreg makes of them."""
    from dem_kinds import error_of, run
    from dem_scenes import make

    import xcoreg

    for name in KINDS:
        for seed in range(n):
            scene, stem = make(name, seed), f"{name.replace(' ', '_')}_{seed}"
            for what, image in (("ref", scene.ref), ("tgt", scene.tgt), ("stable", scene.options.get("where"))):
                if image is not None:
                    xcoreg.write_raster(image, folder / f"{stem}_{what}.tif")
            fit, _, took = run(scene)
            error = [np.nan, np.nan] if isinstance(fit, Exception) else error_of(scene, fit)
            middle = [float(scene.x.mean()), float(scene.y.mean()), float(np.mean(scene.tgt.values))]
            places = [middle, *([x, y, middle[2]] for x in scene.x[0, ::100] for y in scene.y[::100, 0])]
            at = [np.rint([(5.4e6 - y) / 20 - 0.5, (x - 5e5) / 20 - 0.5]).astype(int) for x, y, _ in places]
            truth = [scene.truth[:, row, col].tolist() for row, col in at]
            heights = [float(scene.tgt.values[row, col]) for row, col in at]
            told = {"kind": name, "xcoreg": [*map(float, error), took], "truth": truth, "heights": heights,
                    "places": places}  # fmt: skip
            (folder / f"{stem}.json").write_text(json.dumps(told), encoding="utf-8")


def compare(folder: Path) -> None:
    """Run xDEM's Nuth and Kaab and LZD on the files; RMSE of the correction at places of the target, m."""
    import geoutils
    import xdem

    rows: dict[str, list[list[float]]] = {}
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        ref, tgt = (xdem.DEM(str(path.with_name(f"{path.stem}_{what}.tif"))) for what in ("ref", "tgt"))
        mask = path.with_name(f"{path.stem}_stable.tif")
        inliers = geoutils.Raster(str(mask)).data.filled(0) > 0 if mask.exists() else None
        row = [told["xcoreg"][0], told["xcoreg"][2]]
        for method in (xdem.coreg.NuthKaab(), xdem.coreg.LZD()):
            row += _error(method, (ref, tgt, inliers), told)
        rows.setdefault(told["kind"], []).append(row)
    print("| kind | xcoreg, m | s | xDEM NuthKaab, m | s | xDEM LZD, m | s |\n|---|---|---|---|---|---|---|")
    for name, values in rows.items():
        every = np.array(values)
        mean = np.sqrt(np.nanmean(every**2, axis=0))
        print("| " + " | ".join([name, *(f"{value:.3f}" for value in mean)]) + " |", flush=True)


def _error(method: Any, pair: tuple[Any, Any, Any], told: dict[str, Any]) -> list[float]:
    """Horizontal RMSE of a method, and its processor time."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method.fit(pair[0], pair[1], inlier_mask=pair[2], random_state=0)
    except (ValueError, RuntimeError, AssertionError, np.linalg.LinAlgError):  # there is no answer
        return [np.nan, time.process_time() - start]
    took, matrix = time.process_time() - start, method.to_matrix()
    affine = method.meta["outputs"]["affine"]
    centroid = np.array(affine.get("centroid", (0.0, 0.0, 0.0)))
    places = np.array(told["places"])
    places[:, 2] = told["heights"]
    moved = (places - centroid) @ matrix[:3, :3].T + matrix[:3, 3] + centroid
    off = (moved - places)[:, :2] - np.array(told["truth"])[:, :2]
    return [float(np.sqrt((off**2).sum(1).mean())), took]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--parts", choices=("write", "run"), required=True)
    parser.add_argument("--folder", type=Path, default=Path("dem_pairs"))
    parser.add_argument("--n", type=int, default=10)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.parts == "write":
        write(args.folder, args.n)
    else:
        compare(args.folder)


if __name__ == "__main__":
    main()
