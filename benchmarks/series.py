"""Series of dates made of real images: seasons, clouds and their shadows, snow, haze, low sun, relief, orbits, gaps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from common import Report, arguments
from scipy import ndimage

import xcoreg
from xcoreg.errors import CoregError, CoregWarning

_CLEAR = 0.5  # share of a date that is seen from which a person would call it clear


@dataclass(frozen=True)
class Kind:
    """What happens to the dates of a series; sizes in px of the series, displacements too.

    season, change : Weight of the second layer over the year, and of the third over years.
    real : Layers are real dates or bands, whose own registration nobody knows better than to some hundredths of a px;
        otherwise other seasons of the first one, in which brightness changes by land cover and nothing moves.
    integer : Displacements are whole pixels before these are made coarser: nothing is resampled.
    clouds : Mean cover; covers of dates follow a beta distribution, a part of them is overcast.
    relief : Standard deviation of displacements that follow the relief and the orbit.
    edge, stripes, strips : Shares of dates with a slanted edge of nodata; with missing lines; aerial strips of a date.
    """

    dates: int = 40
    days: float = 8.0
    gap: float = 0.0
    shift: float = 0.7
    season: float = 0.5
    change: float = 0.3
    clouds: float = 0.3
    snow: float = 0.0
    haze: float = 0.3
    sun: float = 0.3
    relief: float = 0.02
    gain: float = 0.3
    noise: float = 0.03
    edge: float = 0.2
    stripes: float = 0.0
    strips: int = 1
    dtype: str = "uint16"
    real: bool = False
    integer: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """Cube of dates, true corrections (n, 2) px, share (n,) of each date that is seen, weights (n, 2) of other layers.

    The correction of a date is the mean over its pixels that have data.
    """

    cube: xr.DataArray
    shifts: np.ndarray
    seen: np.ndarray
    weights: np.ndarray


def make_series(layers: list[np.ndarray], like: xr.DataArray, kind: Kind, seed: int, factor: int = 1) -> Series:
    """Take layers (rows, cols) of one ground at all dates; `like` has their grid, `factor` makes pixels coarser."""
    rng = np.random.default_rng(seed)
    layers = layers if kind.real else [layers[0], *(_regrown(layers[0], rng) for _ in range(2))]
    layers = [(one - one.mean()) / one.std() for one in layers]
    times = np.datetime64("2016-02-01", "ns") + (
        np.cumsum(rng.exponential(kind.days, kind.dates) + 1) * 86400e9
    ).astype("timedelta64[ns]")
    times[kind.dates // 2 :] += np.timedelta64(int(kind.gap * 365), "D")
    moves = rng.normal(0, kind.shift, (kind.dates, 2))
    moves = np.rint(moves * factor) / factor if kind.integer else moves
    taken = [_date(layers, kind, (time, move, factor), rng) for time, move in zip(times, moves, strict=True)]
    values, seen, moved, weights = (np.stack([one[part] for one in taken]) for part in range(4))
    a, _, c, _, e, f = tuple(like.rio.transform())[:6]
    rows, cols = values.shape[1:]
    y, x = f + e * factor * (np.arange(rows) + 0.5), c + a * factor * (np.arange(cols) + 0.5)
    made = xr.DataArray(values, {"time": times, "y": y, "x": x}, ("time", "y", "x"), attrs={"_FillValue": 0})
    return Series(made.rio.write_crs(like.rio.crs), -moved, seen.mean((1, 2)), weights)


def _regrown(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make another season of the same ground: level and contrast of its kinds of land cover change, nothing moves."""
    smooth = ndimage.gaussian_filter(layer, 4)
    cover = np.digitize(smooth, np.quantile(smooth, (0.2, 0.4, 0.6, 0.8)))
    level, gain = rng.normal(0, layer.std(), 5), rng.uniform(-0.5, 1.5, 5)
    return np.asarray(level[cover] + gain[cover] * (layer - smooth))


def _date(
    layers: list[np.ndarray], kind: Kind, place: tuple[Any, np.ndarray, int], rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """One date, where its ground is seen, by how much it is moved (2,), weights (2,) of the second and third layer."""
    time, move, factor = place
    year = (time - np.datetime64("2016-01-01")) / np.timedelta64(365, "D")
    summer = 0.5 - 0.5 * np.cos(2 * np.pi * year)
    change = np.clip(kind.change * (0.2 * year + rng.normal(0, 0.1)), 0, 1)
    scene = (1 - kind.season * summer) * layers[0] + kind.season * summer * layers[1 % len(layers)]
    scene = scene + change * (layers[2 % len(layers)] - layers[0])
    relief = ndimage.gaussian_filter(layers[0], 12 * factor)
    relief /= max(float(relief.std()), 1e-9)
    slope = ndimage.gaussian_filter(np.gradient(relief, axis=1) - np.gradient(relief, axis=0), factor)
    scene = scene + kind.sun * (1 - summer) * slope / max(float(slope.std()), 1e-9)
    rows, cols = np.indices(scene.shape, dtype=np.float64)
    view = kind.relief * factor * rng.choice([-1, 1]) * relief
    strip = rng.normal(0, 0.15 * factor, (kind.strips, 2))[np.arange(scene.shape[1]) * kind.strips // scene.shape[1]]
    strip = strip - strip.mean(0)
    field = np.stack(
        [move[0] * factor + view + strip[:, 0], np.broadcast_to(move[1] * factor + strip[:, 1], view.shape)]
    )
    scene = ndimage.map_coordinates(scene, [rows - field[1], cols - field[0]], order=3, mode="nearest")
    scene, field = (_coarser(one, factor) for one in (scene, field))
    values, seen = _seen_from_above(scene / scene.std(), kind, summer, rng)
    return values, seen, field[:, values > 0].mean(1) / factor, np.array([kind.season * summer, change])


def _coarser(values: np.ndarray, factor: int) -> np.ndarray:
    """Average pixels (..., rows, cols) without a margin of eight coarser ones."""
    edge = 8 * factor
    values = values[..., edge:-edge, edge:-edge]
    rows, cols = (size // factor for size in values.shape[-2:])
    values = values[..., : rows * factor, : cols * factor]
    return np.asarray(values.reshape(*values.shape[:-2], rows, factor, cols, factor).mean((-3, -1)))


def _seen_from_above(
    scene: np.ndarray, kind: Kind, summer: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Snow, clouds and their shadows, haze, brightness, noise and missing pixels; and where the ground is seen."""
    shape, seen = scene.shape, np.ones(scene.shape, bool)
    if rng.random() < kind.snow * (1 - summer) * 2:
        white = xcoreg.simulate.blob_mask(shape, float(rng.uniform(0.3, 1)), seed=int(rng.integers(1 << 30)))
        scene = np.where(white, 4 + 0.15 * scene, scene)
        seen &= ~white
    overcast = rng.random() < kind.clouds / 2
    cover = 1.0 if overcast else float(rng.beta(0.5, 0.5 * (1 - kind.clouds) / max(kind.clouds, 1e-3)))
    cloud = xcoreg.simulate.blob_mask(shape, cover, seed=int(rng.integers(1 << 30)))
    soft = ndimage.gaussian_filter(cloud.astype(float), 1.5)
    shadow = np.roll(soft, (4, -3), (0, 1))
    thick = 5 + 1.2 * ndimage.gaussian_filter(rng.normal(0, 1, shape), 3) * 10
    scene = (scene - 0.8 * shadow) * (1 - soft) + thick * soft
    seen &= ~(cloud | (shadow > 0.5))
    veil = ndimage.gaussian_filter(rng.normal(0, 1, shape), max(shape) / 6)
    haze = kind.haze * abs(rng.normal())
    scene = (1 - 0.5 * np.tanh(haze)) * scene + haze * (1 + veil / max(float(veil.std()), 1e-9))
    scene = scene * np.exp(kind.gain * rng.normal()) + kind.gain * rng.normal() + rng.normal(0, kind.noise, shape)
    rows, cols = np.indices(shape)
    nothing = np.zeros(shape, bool)
    if rng.random() < kind.edge:
        nothing |= cols + 0.2 * rows > rng.uniform(0.35, 1.0) * shape[1] * 1.1
    if rng.random() < kind.stripes:
        nothing |= (rows + 0.15 * cols + rng.integers(12)) % 12 < 3
    scale, top = (12, 255) if kind.dtype == "uint8" else (500, 65535)
    values = np.clip(np.rint((scene + 5) * scale), 1, top).astype(kind.dtype)
    return np.where(nothing, 0, values).astype(kind.dtype), seen & ~nothing


def grounds(data: Path, side: int, start: tuple[int, int] = (60, 60)) -> Iterator[tuple[str, list[Any], Any]]:
    """Layers of real grounds: name, arrays on one grid, the image that has the grid."""
    ref, tgt = (one.squeeze() for one in xcoreg.datasets.sentinel2_pair())
    fixed = tgt.coreg.apply(tgt.coreg.match(ref), like=ref)
    box = tuple(slice(one, one + side) for one in start)
    yield "Sentinel-2", [one.values[box].astype(float) for one in (ref, fixed, fixed)], ref[box]
    paths = sorted((data / "naip").glob("*.tif"))
    if paths:
        years = [xcoreg.open_raster(path).load() for path in paths]
        second = years[1].coreg.apply(years[1].coreg.match(years[0]), like=years[0])
        bands = [years[0][0], years[0][3], second[0]]
        yield "NAIP", [one.values[box].astype(float) for one in bands], years[0][0][box]
    path = data / "aerial_s2_l8_south_africa" / "landsat8_byte.tif"
    if path.exists():
        image = xcoreg.open_raster(path).load()
        box = (slice(20, 20 + side), slice(8, 8 + min(side, 250)))
        yield "Landsat 8", [image[at].values[box].astype(float) for at in (3, 4, 2)], image[0][box]


# Name, ground, side of the layers, pixels made coarser by, what happens.
CASES = (
    ("60 dates of 10 m", "Sentinel-2", 420, 1, Kind(60, snow=0.2)),
    ("68 small dates of 10 m, half under clouds", "Sentinel-2", 116, 1, Kind(68, clouds=0.5, snow=0.1)),
    ("40 dates, pixels 4 times coarser", "Sentinel-2", 480, 4, Kind(40, shift=0.3)),
    ("10 years of aerial images in strips", "NAIP", 700, 1,
     Kind(8, 450, clouds=0, haze=0.1, edge=0.4, strips=3, relief=0.2, change=0.5, season=0.8, dtype="uint8")),
    ("40 dates over 30 years, stripes", "Landsat 8", 420, 1,
     Kind(40, 200, gap=8, stripes=0.4, change=0.6, dtype="uint8")),
    ("30 dates, whole pixels averaged by 2", "NAIP", 700, 2, Kind(30, integer=True, relief=0)),
    ("30 dates, seasons of two real dates", "Sentinel-2", 420, 1, Kind(30, real=True)),
    ("40 dates, relief of 0.3 px", "Sentinel-2", 420, 1, Kind(40, relief=0.3)),
)  # fmt: skip


def tried(series: Series, real: bool) -> dict[str, Any]:
    """Match, and match again after applying.

    Layers that are real dates lie apart by what nobody knows: errors of a date that follow its weight of them are
    theirs, so there is a second line of errors without these.
    """
    stack = xcoreg.match_stack(series.cube)
    placed = np.isfinite(stack.shifts_px[:, 0])
    clear = series.seen >= _CLEAR
    off = stack.shifts_px[placed] - series.shifts[placed]
    off = off - off.mean(0)
    sigma = np.sqrt(np.diagonal(stack.covs_px[placed], axis1=1, axis2=2))
    within = [_within(off / sigma)]
    if real:
        weight = np.column_stack([np.ones(len(off)), series.weights[placed].sum(1)])
        within.append(_within((off - weight @ np.linalg.lstsq(weight, off)[0]) / sigma))
    again = xcoreg.match_stack(series.cube.coreg.apply(stack))
    left, quality = np.hypot(*again.shifts_px.T), stack.quality
    return {
        "clear dates placed": f"{int((placed & clear).sum())} of {int(clear.sum())}",
        "others placed": f"{int((placed & ~clear).sum())} of {int((~clear).sum())}",
        "RMSE, px": float(np.sqrt((off**2).mean())), "largest error, px": float(np.abs(off).max()),
        "within 1, 2 sigma, %": "; without what layers are apart ".join(within),
        "largest, sigma": float(np.abs(off / sigma).max()),
        "chi2/dof": f"{quality.ratio_x:.2f}, {quality.ratio_y:.2f}",
        "triangles": f"{quality.triangle_x:.2f}, {quality.triangle_y:.2f}",
        "median after applying, px": float(np.nanmedian(left)),
    }  # fmt: skip


def _within(normalised: np.ndarray) -> str:
    return ", ".join(f"{100 * (np.abs(normalised) < at).mean():.0f}" for at in (1, 2))


def rows_of(data: Path, seeds: range, most: int, chosen: str) -> Iterator[dict[str, Any]]:
    """Rows of the table of all cases, or of some, with at most so many dates."""
    for name, ground, side, factor, kind in (one for one in CASES if chosen in one[0]):
        for seed in seeds:
            start = (40 + 90 * seed % 180, 40 + 130 * seed % 180)
            found = next((one for one in grounds(data, side, start) if one[0] == ground), None)
            if found is None:
                continue
            series = make_series(found[1], found[2], replace(kind, dates=min(kind.dates, most)), seed, factor)
            row = {"series": name, "ground": ground, "seed": seed}
            try:
                row |= tried(series, kind.real)
            except CoregError as error:
                row |= {"clear dates placed": f"none: {error}"}
            print(*(f"{name}: {one}" for name, one in row.items()), sep="; ", flush=True)
            yield row


def main() -> None:
    """Try all cases."""
    chosen = arguments(
        __doc__ or "",
        data={"type": Path, "default": Path("../shared/data"), "help": "folder of the real images"},
        seeds={"type": int, "default": 2, "help": "series of each case"},
        dates={"type": int, "default": 99, "help": "dates of a series at most"},
        case={"default": "", "help": "part of the name of the cases to try"},
    )
    warnings.simplefilter("ignore", CoregWarning)
    report, seeds = Report("Series made of real images"), range(chosen.seed, chosen.seed + chosen.seeds)
    report.table(
        "Dates whose ground is seen by half are clear",
        list(rows_of(chosen.data, seeds, chosen.dates, chosen.case)),
    )
    report.write(chosen.out)


if __name__ == "__main__":
    main()
