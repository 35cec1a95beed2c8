"""Raw images over real terrain: RPCs and orthoimages against GDAL, corrected RPCs, coverage, parallax, jitter.

Needs the real elevation model `dem_srtm_shifted` (`$XCOREG_DATA`, or `../shared/data` beside the checkout). The images
are simulated through exact RPCs over it (:func:`xcoreg.simulate.raw_scene`).
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, arguments
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer
from rasterio.warp import Resampling, reproject
from scipy.ndimage import gaussian_filter

import xcoreg
from xcoreg.errors import MatchError
from xcoreg.georef import Terrain, TerrainGround, linear_of, pixel_to_map, transform_points, vector_to_pixel
from xcoreg.georef.rpc_files import RPCGround
from xcoreg.io.terrain import read_terrain
from xcoreg.simulate import RawScene, pair, raw_scene

_DATA = Path(os.environ.get("XCOREG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
DEM = _DATA / "dem_srtm_shifted" / "srtm_ref.tif"
_CHI2_95 = 5.991464547107979  # two degrees of freedom


def bias(col: Any, row: Any) -> tuple[Any, Any]:
    """Give the correction of the benchmark: (12.3, -7.8) px and 0.02 %."""
    return 12.3 + 2e-4 * col - 1e-4 * row, -7.8 + 1e-4 * col + 2e-4 * row


def somewhere(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a place of the terrain and a direction of flight."""
    return {
        "centre": (40.2 + rng.uniform(0, 0.4), 39.35 + rng.uniform(0, 0.45)),
        "heading": float(rng.uniform(0, 360)),
    }


def processor_time(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def against_gdal(terrain: Terrain, size: int) -> list[dict[str, Any]]:
    """Positions and an orthoimage against GDAL's exact transformer, and processor time per output pixel."""
    scene = raw_scene(terrain, (size, size), 10.0, correction=(0.0, 0.0), seed=1)
    rpcs, grid = RPC(**scene.rpcs.to_dict()), scene.ref.coreg.grid
    rng = np.random.default_rng(0)
    lon = scene.rpcs.long_off + scene.rpcs.long_scale * rng.uniform(-0.8, 0.8, 50_000)
    lat = scene.rpcs.lat_off + scene.rpcs.lat_scale * rng.uniform(-0.8, 0.8, 50_000)
    height = rng.uniform(terrain.low, terrain.high, 50_000)
    col, row = scene.rpcs.project(lon, lat, height)
    with RPCTransformer(rpcs) as gdal:
        line, pixel = gdal.rowcol(lon, lat, zs=height, op=lambda value: value)
    rows = [
        {"what": "RPC projection, largest difference, px", "value": np.hypot(pixel - col - 0.5, line - row - 0.5).max()}
    ]
    ground = TerrainGround(RPCGround(scene.rpcs), terrain)
    lon, lat = ground.to_map(*rng.uniform(0, size - 1, (2, 5000)))
    col, row = ground.to_pixel(lon, lat)
    with RPCTransformer(rpcs, RPC_DEM=str(DEM)) as gdal:
        line, pixel = gdal.rowcol(lon, lat, op=lambda value: value)
    off = np.hypot(np.array(pixel) - col - 0.5, np.array(line) - row - 0.5)
    rows.append({"what": "over the DEM, largest difference, px", "value": off.max()})
    theirs = np.full(scene.ref.shape, np.nan, np.float32)
    how: dict[str, Any] = {
        "resampling": Resampling.bilinear,
        "tolerance": 0,
        "RPC_DEM": str(DEM),
        "XSCALE": 1,
        "YSCALE": 1,
    }

    def gdal_warp() -> None:
        reproject(
            scene.raw.values, theirs, rpcs=rpcs, src_crs="EPSG:4326", dst_transform=grid.affine,
            dst_crs=grid.crs.to_wkt(), dst_nodata=np.nan, init_dest_nodata=True, **how,
        )  # fmt: skip

    def ours() -> Any:
        return scene.raw.coreg.rectify(
            scene.rpcs, like=scene.ref, dem=DEM, vertical_datum="ellipsoid", resampling="bilinear"
        )

    times = [(processor_time(ours), processor_time(gdal_warp)) for _ in range(3)]
    made = times[-1][0][1].values
    both = np.isfinite(made) & np.isfinite(theirs)
    slope = np.hypot(*np.gradient(scene.ref.values))
    rows.append(
        {
            "what": "orthoimage, 99.9th percentile, px",
            "value": np.percentile((abs(made - theirs) / slope.mean())[both], 99.9),
        }
    )
    mine, gdals = (min(one[k][0] for one in times) / made.size * 1e9 for k in (0, 1))
    rows.append({"what": "xcoreg, processor time per output pixel, ns", "value": mine})
    rows.append({"what": "GDAL, the same, ns", "value": gdals})
    return rows


def poorer(terrain: Terrain, sigma: float, seed: int) -> Terrain:
    """Give the terrain smooth errors of some standard deviation, m."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(0, 1, terrain.heights.shape), 1.5)
    return replace(terrain, heights=(terrain.heights + noise * sigma / noise.std()).astype(np.float32))


def errors_of(fit: Any, scene: RawScene, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Errors (n, 2) of a correction at random pixels, and their squared Mahalanobis distances."""
    rows, cols = scene.raw.shape
    col, row = np.random.default_rng(0).uniform(0, [[cols], [rows]], (2, n))
    dcol, drow = scene.correction(col, row)
    dx, dy = fit.model.predict(col + 0.5, -(row + 0.5))
    off = np.column_stack([dx - dcol, dy + drow])
    return off, np.einsum("ni,nij,nj->n", off, np.linalg.inv(fit.model.predict_cov(col + 0.5, -(row + 0.5))), off)


def corrected(terrain: Terrain, pairs: int, size: int) -> list[dict[str, Any]]:
    """RMSE of the correction at independent places, and how often 95 % ellipses hold the truth."""
    rows = []
    for snr, sigma in ((30.0, 0.0), (20.0, 3.0), (15.0, 8.0)):
        squares, inside, refits, flat = [], [], [], []
        for seed in range(pairs):
            rng = np.random.default_rng(seed)
            scene = raw_scene(terrain, (size, size), 15.0, correction=bias, snr_db=snr, seed=seed, **somewhere(rng))
            known = poorer(terrain, sigma, seed) if sigma else terrain
            fit = scene.raw.coreg.match(scene.ref, ground=scene.rpcs, dem=known)
            off, squared = errors_of(fit, scene)
            squares.append((off**2).sum(1).mean())
            inside.append(np.mean(squared < _CHI2_95))
            refits.append(fit.corrected_rpcs().rms)
            if seed < max(pairs // 4, 1):
                flat.append(one_height(scene))
        rows.append({
            "SNR, dB": snr, "DEM error, m": sigma, "scenes": pairs,
            "RMSE of the correction, px": np.sqrt(np.mean(squares)),
            "95 % ellipses that hold the truth, %": 100 * np.mean(inside),
            "RMS of the refitted RPCs, px": np.max(refits),
            "one height and match_local, RMSE at check points, px": np.mean(flat),
        })  # fmt: skip
    return rows


def one_height(scene: RawScene) -> float:
    """Measure what is left, RMSE at check points, after rectifying over one height and a field of shifts."""
    image = scene.raw.coreg.rectify(scene.rpcs, height=scene.rpcs.height_off, crs=scene.ref.rio.crs, resolution=15.0)
    try:
        return float(image.coreg.match_local(scene.ref).quality.rmse_after)
    except MatchError:
        return float("nan")


def parallaxes(terrain: Terrain, pairs: int, size: int) -> list[dict[str, Any]]:
    """Planted parallax: errors of direction and size; and how often one is chosen where there is none."""
    directions, sizes, squares, left, none = [], [], [], [], 0
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        scene = raw_scene(
            terrain, (size, size), 20.0, off_nadir=8.0, correction=(0.0, 0.0), snr_db=20, seed=seed, **somewhere(rng)
        )
        crs, middle = scene.ref.rio.crs, scene.rpcs.height_off
        image = scene.raw.coreg.rectify(scene.rpcs, height=middle, crs=crs, resolution=20.0)
        found = image.coreg.match_local(scene.ref, terrain=terrain)
        parallax = found.details.parallax
        if parallax is not None:
            place = transform_points(crs, "EPSG:4326", *found.model.centre)
            seen = scene.rpcs.project(*place, middle)
            ends = [
                np.stack(transform_points("EPSG:4326", crs, *scene.rpcs.unproject(*seen, middle + up)))
                for up in (-500.0, 500.0)
            ]
            truth = (ends[1] - ends[0]) / 1000
            turn = parallax.direction - np.degrees(np.arctan2(*truth))
            directions.append((turn + 180) % 360 - 180)
            sizes.append(100 * (parallax.size / np.hypot(*truth) - 1))
            off = np.array([parallax.dx, parallax.dy]) - truth
            squares.append(off @ np.linalg.solve(np.array(parallax.cov), off))
            left.append(found.quality.rmse_after)
        right = scene.raw.coreg.rectify(scene.rpcs, dem=terrain, crs=crs, resolution=20.0)
        none += right.coreg.match_local(scene.ref, terrain=terrain).details.parallax is not None
    return [{
        "scenes": pairs, "found": len(directions), "direction, largest error, degrees": np.abs(directions).max(),
        "size, largest error, %": np.abs(sizes).max(), "median square over expectation": np.median(squares) / 1.386,
        "RMSE at check points, px": np.mean(left),
        "found where there is none": none,
    }]  # fmt: skip


def jitters(scenes: int, rows: int) -> list[dict[str, Any]]:
    """Planted jitter of 0.2 px in both components: what `model="lines"` leaves, RMS of the length over all rows."""
    table = []
    for period, window, spacing in ((80, 24, 8), (150, 32, 16), (300, 48, 24), (600, 48, 24)):
        left = []
        for seed in range(scenes):

            def shift(row: Any, col: Any, /, period: float = period) -> tuple[Any, Any]:
                phase = 2 * np.pi * np.broadcast_arrays(np.asarray(row, float), col)[0] / period
                return 1.5 + 0.2 * np.sin(phase), -0.7 + 0.2 * np.cos(phase + 1)

            images = pair((rows, 500), shift=shift, snr_db=25, seed=seed)
            fit = images.tgt.coreg.match_local(images.ref, model="lines", window=window, spacing=spacing)
            row = np.arange(window / 2, rows - window / 2)
            x, y = pixel_to_map(images.tgt.coreg.grid.affine, np.full(row.size, 250.0), row)
            dcol, drow = vector_to_pixel(linear_of(images.tgt.coreg.grid.affine), *fit.model.predict(x, y))
            truth = shift(row, 0)
            left.append(np.mean((dcol - truth[0]) ** 2 + (drow - truth[1]) ** 2))
        rms = float(np.sqrt(np.mean(left)))
        table.append({"period, lines": period, "window": window, "spacing": spacing, "left, px RMS": rms})
    return table


def no_jitter(scenes: int, rows: int) -> list[dict[str, Any]]:
    """Without jitter: how often `model="lines"` takes splines."""
    table = []
    for window, spacing in ((24, 8), (48, 24)):
        found = 0
        for seed in range(scenes):
            images = pair((rows, 500), shift=(1.5, -0.7), snr_db=25, seed=seed)
            fit = images.tgt.coreg.match_local(images.ref, model="lines", window=window, spacing=spacing)
            found += fit.model.kind == "lines"
        table.append({"window": window, "spacing": spacing, "scenes": scenes, "splines taken": found})
    return table


def main() -> None:
    options = arguments(__doc__ or "")
    warnings.simplefilter("ignore")
    report = Report("Raw images over terrain")
    if not DEM.is_file():
        raise SystemExit(f"{DEM} is not there: set XCOREG_DATA")
    terrain = read_terrain(xcoreg.open_raster(DEM), "ellipsoid")
    quick = options.quick
    relief = f"{terrain.low:.0f} to {terrain.high:.0f} m"
    report.table(
        "Against GDAL", against_gdal(terrain, 400 if quick else 1500), f"Heights from {relief}, 20 degrees off nadir."
    )
    report.table("Corrected RPCs", corrected(terrain, 2 if quick else 24, 300 if quick else 400))
    report.table("Parallax", parallaxes(terrain, 2 if quick else 20, 300 if quick else 400))
    report.table("Jitter", jitters(1 if quick else 4, 400 if quick else 800))
    report.table("No jitter", no_jitter(1 if quick else 20, 400))
    report.write(options.out)


if __name__ == "__main__":
    main()
