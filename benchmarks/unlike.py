"""Match pairs of images that have nothing in common but the place, made in another way than those of `structure.py`.

"Farmland": land divided again and again into parcels, roads along their borders, a river, houses with heights, trees;
drawn as polygons at four times the resolution. Seen as an optical image with shadows, as radar (speckle that is
correlated over 1.5 px, roofs displaced towards the sensor, bright walls, shadows behind), as heights above ground, as a
thermal image, as a street map (flat colours, wide roads, no trees, lettering) and as a plan of thin lines.
"Relief": slopes of a real elevation model lit from different sides, its heights and their steepness. "Real": a band of
a real image, and another one of it as classes of land, speckle, blurred or as strength of edges.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from common import Report, arguments, image, spread
from rasterio.features import rasterize
from scipy import fft, ndimage
from shapely import LineString, Polygon, affinity, box

import xcoreg

_DATA = Path(os.environ.get("XCOREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
_FINE, _MARGIN = 4, 24
_Q95 = 5.9915  # chi square of two degrees
SEEN = ("radar 1", "radar 4", "heights", "thermal", "street map", "plan")


class Farmland(NamedTuple):
    """Shapes of a simulated place, px: parcels, roads, river, houses with heights, trees (circles)."""

    side: float
    parcels: list[Polygon]
    roads: list[LineString]
    river: LineString
    houses: list[tuple[Polygon, float]]
    trees: list[Polygon]


def farmland(rng: np.random.Generator, side: float) -> Farmland:
    """Draw the shapes of a place of `side` px."""
    centre, turn = (side / 2, side / 2), rng.uniform(0, 90)
    parcels, borders, todo = [], [], [(-side, -side, 2 * side, 2 * side)]
    least = rng.uniform(8, 20)
    while todo:
        x0, y0, x1, y1 = todo.pop()
        wide, high = x1 - x0, y1 - y0
        if max(wide, high) < 2 * least or (max(wide, high) < side / 2.5 and rng.random() < 0.15):
            parcels.append(box(x0, y0, x1, y1))
            continue
        at = rng.uniform(0.35, 0.65)
        if wide > high:
            cut = x0 + at * wide
            parts, line = [(x0, y0, cut, y1), (cut, y0, x1, y1)], LineString([(cut, y0), (cut, y1)])
        else:
            cut = y0 + at * high
            parts, line = [(x0, y0, x1, cut), (x0, cut, x1, y1)], LineString([(x0, cut), (x1, cut)])
        todo += parts
        if max(wide, high) > side / 4:
            borders.append(line)
    along = np.linspace(-0.5, 1.5, 40) * side
    wave = ndimage.gaussian_filter1d(rng.standard_normal(40), 3) * side * 0.4 + rng.uniform(0.2, 0.8) * side
    houses = []
    for _ in range(int(rng.integers(10, 60) * (side / 150) ** 2)):
        road = borders[int(rng.integers(len(borders)))]
        spot = road.interpolate(rng.uniform(0, road.length))
        x, y = spot.x + rng.normal(0, 6), spot.y + rng.normal(0, 6)
        dx, dy = rng.uniform(1.2, 4, 2)
        houses.append((affinity.rotate(box(x - dx, y - dy, x + dx, y + dy), rng.normal(0, 8)), rng.uniform(0.4, 1.5)))
    trees = [
        _disc(p, r)
        for p, r in zip(
            rng.uniform(-0.2 * side, 1.2 * side, (int(40 * (side / 150) ** 2), 2)),
            rng.uniform(0.7, 2.5, 1000),
            strict=False,
        )
    ]
    spin = lambda shape: affinity.rotate(shape, turn, origin=centre)  # noqa: E731
    return Farmland(
        side,
        [spin(one) for one in parcels],
        [spin(one) for one in borders],
        affinity.rotate(LineString(np.stack([along, wave], -1)), rng.uniform(0, 180), origin=centre),
        [(spin(one), high) for one, high in houses],
        trees,
    )


def _disc(place: np.ndarray, radius: float) -> Polygon:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return Polygon(np.stack([place[0] + radius * np.cos(turn), place[1] + radius * np.sin(turn)], -1))


def _burn(land: Farmland, shapes: list[Any], values: Any, fill: float = 0) -> np.ndarray:
    """Shapes with values as a fine grid."""
    size = round(land.side * _FINE)
    pairs = list(zip(shapes, np.broadcast_to(values, len(shapes)).tolist(), strict=True))
    transform = rasterio.Affine.scale(1 / _FINE)
    if not pairs:
        return np.full((size, size), fill, np.float32)
    return rasterize(pairs, (size, size), fill=fill, transform=transform, dtype="float32")


def _over(below: np.ndarray, land: Farmland, shapes: list[Any], value: Any) -> np.ndarray:
    drawn = _burn(land, shapes, value, np.nan)
    return np.where(np.isnan(drawn), below, drawn)


def _noise(rng: np.random.Generator, land: Farmland, sigma: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal((round(land.side * _FINE),) * 2), sigma * _FINE, mode="wrap")
    return field / field.std()


def _heights(land: Farmland) -> np.ndarray:
    out = _over(_burn(land, land.trees, 0.8), land, [one for one, _ in land.houses], [high for _, high in land.houses])
    return np.asarray(out)


def _displaced(shapes: list[tuple[Polygon, float]], dx: float, dy: float) -> list[Polygon]:
    return [affinity.translate(one, dx * high, dy * high) for one, high in shapes]


def optical(rng: np.random.Generator, land: Farmland) -> np.ndarray:
    """Brightness with the texture of fields, shadows of houses and trees."""
    out = _burn(land, land.parcels, rng.normal(0, 1, len(land.parcels)))
    out = out + 0.25 * _noise(rng, land, 1.0) + 0.25 * _noise(rng, land, 6.0)
    out = _over(out, land, [one.buffer(0.5) for one in land.roads], rng.choice([-1.2, 1.2]))
    out = _over(out, land, [land.river.buffer(3)], -2.0)
    sun = rng.uniform(-1.5, 1.5, 2)
    shadows = _displaced(land.houses + [(one, 0.8) for one in land.trees], *sun)
    out = _over(out, land, shadows, -2.0)
    out = _over(out, land, land.trees, -0.8)
    return _over(out, land, [one for one, _ in land.houses], rng.normal(1.5, 0.6, len(land.houses)))


def radar(rng: np.random.Generator, land: Farmland) -> np.ndarray:
    """Amplitude: roofs displaced towards a sensor on one side, bright walls, shadows; speckle comes later."""
    back = _burn(land, land.parcels, rng.normal(0, 0.35, len(land.parcels))) + 0.1 * _noise(rng, land, 3.0)
    back = _over(back, land, [one.buffer(0.5) for one in land.roads], -0.8)
    back = _over(back, land, [land.river.buffer(3)], -1.6)
    side = rng.choice([-1, 1])
    back = _over(back, land, _displaced(land.houses, -2.0 * side, 0), -1.4)  # shadow behind
    back = _over(back, land, [one for one, _ in land.houses], 0.3)
    back = _over(back, land, _displaced(land.houses, 1.0 * side, 0), 0.8)  # layover
    walls = [
        one.intersection(affinity.translate(one, 0.6 * side, 0).symmetric_difference(one)) for one, _ in land.houses
    ]
    back = _over(back, land, [one for one in walls if not one.is_empty], 2.0)
    return np.exp(_over(back, land, land.trees, 0.3))


def thermal(rng: np.random.Generator, land: Farmland) -> np.ndarray:
    """Temperatures of fields, roads, water and roofs, of soft edges."""
    out = _burn(land, land.parcels, rng.normal(0, 1, len(land.parcels))) + 0.2 * _noise(rng, land, 4.0)
    out = _over(out, land, [one.buffer(0.5) for one in land.roads], 1.5)
    out = _over(out, land, [land.river.buffer(3)], rng.choice([-1.5, 1.5]))
    out = _over(out, land, land.trees, -0.5)
    out = _over(out, land, [one for one, _ in land.houses], rng.normal(1.0, 0.8, len(land.houses)))
    return ndimage.gaussian_filter(out, 1.5 * _FINE)


def street_map(rng: np.random.Generator, land: Farmland) -> np.ndarray:
    """Flat colours of a few classes, roads with casing and wider than they are, lettering; no trees."""
    colours = rng.uniform(0.75, 1, 4)
    out = _burn(land, land.parcels, colours[rng.integers(0, 4, len(land.parcels))])
    out = _over(out, land, [land.river.buffer(3.2)], 0.6)
    out = _over(out, land, [one.buffer(1.4) for one in land.roads], 0.45)
    out = _over(out, land, [one.buffer(1.0) for one in land.roads], 1.0)
    moved = [affinity.translate(one, *rng.normal(0, 0.3, 2)) for one, _ in land.houses]
    out = _over(out, land, moved, 0.55)
    letters = []
    for _ in range(int(6 * (land.side / 150) ** 2)):
        x, y = rng.uniform(0, land.side, 2)
        for n in range(int(rng.integers(4, 10))):
            strokes = rng.uniform(0, 1, (4, 2)) * (2.5, 4) + (x + 3.5 * n, y)
            letters.append(LineString(strokes).buffer(0.25))
    return _over(out, land, letters, 0.0)


def plan(_: np.random.Generator, land: Farmland) -> np.ndarray:
    """Thin lines on white: borders of parcels, roads, houses, banks of the river."""
    lines = [one.exterior.buffer(0.3) for one in land.parcels] + [one.exterior.buffer(0.35) for one, _ in land.houses]
    return 1 - _burn(land, [*lines, land.river.buffer(3).exterior.buffer(0.3)], 1.0)


def _sampled(fine: np.ndarray, move: np.ndarray, optics: float = 0.45) -> np.ndarray:
    """Move by a fraction of pixels, sample through optics and box."""
    fy, fx = fft.fftfreq(len(fine))[:, None] * _FINE, fft.rfftfreq(len(fine)) * _FINE
    through = np.exp(-2 * (np.pi * optics) ** 2 * (fx**2 + fy**2)) * np.sinc(fx) * np.sinc(fy)
    half = (_FINE - 1) / 2 / _FINE
    ramp = np.exp(2j * np.pi * (fx * (move[0] + half) + fy * (move[1] + half)))
    return fft.irfft2(fft.rfft2(fine) * through * ramp, fine.shape)[::_FINE, ::_FINE]


def _speckled(rng: np.random.Generator, amplitude: np.ndarray, looks: int) -> np.ndarray:
    """Multiply by speckle that neighbouring pixels share, as oversampled radar images have."""
    power = np.zeros_like(amplitude)
    for _ in range(looks):
        field = rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape)
        field = ndimage.gaussian_filter(field.real, 0.6) + 1j * ndimage.gaussian_filter(field.imag, 0.6)
        power += np.abs(field) ** 2
    return np.maximum(amplitude, 1e-3) * np.sqrt(power / power.mean())


def farm_pair(kind: str, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target of a kind, optical reference, and correction (col, row)."""
    rng = np.random.default_rng([seed, size, *kind.encode()])
    land, move = farmland(rng, size + 2 * _MARGIN), rng.uniform(-8, 8, 2)
    cut = slice(_MARGIN, -_MARGIN)
    ref = _sampled(optical(rng, land), np.zeros(2))[cut, cut]
    ref = ref + 0.05 * rng.standard_normal(ref.shape)
    if kind.startswith("radar"):
        looks = int(kind[-1])
        tgt = _speckled(rng, _sampled(radar(rng, land), move), looks)[cut, cut]
    else:
        fine = {"heights": lambda *_: _heights(land), "thermal": thermal, "street map": street_map, "plan": plan}[kind](
            rng, land
        )
        tgt = _sampled(fine, move)[cut, cut]
        if kind == "heights":
            tgt = (
                tgt
                + ndimage.gaussian_filter(rng.standard_normal(tgt.shape), 12) * 10
                + 0.02 * rng.standard_normal(tgt.shape)
            )
        elif kind == "thermal":
            tgt = tgt + 0.05 * rng.standard_normal(tgt.shape)
    return tgt.astype(np.float32), ref.astype(np.float32), move


RELIEF = ("lit from the other side", "lit at right angles", "heights to light", "steepness to light")
MADE = ("classes of land", "speckled", "blurred, inverted", "edges")


def _read(path: str, band: int) -> np.ndarray:
    with rasterio.open(_DATA / path) as file:
        return file.read(band).astype(np.float32)


def _light(dem: np.ndarray, azimuth: float) -> np.ndarray:
    down, across = np.gradient(dem)
    slope = np.arctan(np.hypot(down, across))
    aspect = np.arctan2(-across, down)
    zenith = np.radians(50)
    return np.cos(zenith) * np.cos(slope) + np.sin(zenith) * np.sin(slope) * np.cos(np.radians(azimuth) - aspect)


def _shifted(values: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Values at places moved by a fraction of pixels: cubic, of an image a pixel of which was averaged."""
    return ndimage.shift(values, -np.array(move[::-1]), order=3, mode="nearest")


def relief_pair(kind: str, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target of a kind, and a reference of the same elevation model lit from one side."""
    rng = np.random.default_rng([seed, size, *kind.encode()])
    dem = _read("dem_srtm_shifted/srtm_ref.tif", 1) / 60
    dem = ndimage.gaussian_filter(dem, 1.0)
    row, col = (int(rng.integers(12, side - size - 12)) for side in dem.shape)
    move, azimuth = rng.uniform(-8, 8, 2), rng.uniform(0, 360)
    cut = (slice(row, row + size), slice(col, col + size))
    ref = _light(dem, azimuth)[cut]
    big = (slice(row - 12, row + size + 12), slice(col - 12, col + size + 12))
    part = _shifted(dem[big], move)
    inner = (slice(12, -12),) * 2
    tgt = {
        "lit from the other side": lambda: _light(part, azimuth + 180),
        "lit at right angles": lambda: _light(part, azimuth + 90),
        "heights to light": lambda: part,
        "steepness to light": lambda: np.hypot(*np.gradient(part)),
    }[kind]()[inner]
    noisy = [one + 0.03 * one.std() * rng.standard_normal(one.shape) for one in (tgt, ref)]
    return noisy[0].astype(np.float32), noisy[1].astype(np.float32), move


_DATES = (  # paths of two dates on about one grid, and bands: the target is made of the second
    (
        "s2_s2_germany/ref_S2A_20160608T153121_T33UUU_sub.tif",
        "s2_s2_germany/ref_S2A_20160608T153121_T33UUU_sub.tif",
        (1,),
        (1,),
    ),
    ("naip/m_4709963_se_14_1_20180716.tif", "naip/m_4709963_se_14_1_20180716.tif", (1, 2), (4,)),
    ("s2_known_shift/sen2_20210527_aber_subset.tif", "s2_known_shift/sen2_20210527_aber_subset.tif", (2, 3), (7, 9)),
    ("aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif", "aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif", (1,), (3,)),
    (
        "aerial_s2_l8_south_africa/sentinel2_b432_byte.tif",
        "aerial_s2_l8_south_africa/sentinel2_b432_byte.tif",
        (1,),
        (3,),
    ),
)


def made_pair(kind: str, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Pair a band of a real image with another one as classes, speckle, blurred or edges, moved by parts of pixels."""
    rng = np.random.default_rng([seed, size, *kind.encode()])
    one, two, bands, others = _DATES[int(rng.integers(len(_DATES)))]
    ref, other = _read(one, int(rng.choice(bands))), _read(two, int(rng.choice(others)))
    move = rng.uniform(-8, 8, 2)
    for _ in range(50):
        row, col = (int(rng.integers(12, side - size - 12)) for side in ref.shape)
        part = other[row - 12 : row + size + 12, col - 12 : col + size + 12]
        whole = ref[row : row + size, col : col + size]
        if min((part > 0).mean(), (whole > 0).mean()) > 0.99 and whole.std() > 0:
            break
    else:
        return None
    moved = _shifted(part, move)
    if kind == "classes of land":
        soft = ndimage.median_filter(moved, 5)
        steps = np.quantile(soft, np.sort(rng.uniform(0.1, 0.9, 4)))
        tgt = rng.permutation(5)[np.digitize(soft, steps)].astype(float)
    elif kind == "speckled":
        level = (moved - moved.min()) / max(float(np.ptp(moved)), 1e-6)
        tgt = _speckled(rng, 0.2 + 1.5 * level, 3)
    elif kind == "blurred, inverted":
        tgt = -ndimage.gaussian_filter(moved, 2.0)
        tgt = tgt + 0.05 * tgt.std() * rng.standard_normal(tgt.shape)
    else:
        strength = np.hypot(*(ndimage.gaussian_filter(moved, 1, order=o) for o in ((0, 1), (1, 0))))
        tgt = np.minimum(strength, np.quantile(strength, 0.95))
    inner = (slice(12, -12),) * 2
    return tgt[inner].astype(np.float32), whole.astype(np.float32), move


def trial(task: tuple[str, str, int, str, int]) -> tuple[str, np.ndarray, np.ndarray, float] | None:
    """Status, error (col, row), covariance and time of a pair."""
    family, kind, size, matcher, seed = task
    made = {"farmland": farm_pair, "relief": relief_pair, "real": made_pair}[family](kind, size, seed)
    if made is None:
        return None
    tgt, ref, move = made
    fit = xcoreg.match(image(tgt), image(ref), matcher=matcher, errors="return")
    if not fit.ok:
        return fit.status.name, np.full(2, np.nan), np.eye(2), 0.0
    return (
        "OK",
        np.array([fit.shift.dcol, fit.shift.drow]) - move,
        np.asarray(fit.shift.cov_px),
        float(fit.quality.n_ok),
    )


def row(name: str, size: int, found: list[Any]) -> dict[str, Any]:
    """One line of the table."""
    ok = [one for one in found if one[0] == "OK"]
    out = {"kind": name, "px": size, "pairs": len(found), "accepted": len(ok)}
    if ok:
        off, cov = np.stack([one[1] for one in ok]), np.stack([one[2] for one in ok])
        square = np.einsum("ni,nij,nj->n", off, np.linalg.inv(cov), off)
        out |= {
            "over 1 px": int((np.hypot(*off.T) > 1).sum()),
            "over 1 px and 3 sigma": int(((np.hypot(*off.T) > 1) & (square > 11.8)).sum()),
        }
        out |= {
            "median px": float(np.median(np.hypot(*off.T))),
            "RMSE": float(np.sqrt((off**2).mean())),
            "bias": f"{off.mean(0).round(3)}",
        }
        out |= {"chi2": float(square.mean() / 2), "95 %": 100 * float((square <= _Q95).mean())}
        out |= {"windows": float(np.median([one[3] for one in ok]))}
    return out | {
        "why": ", ".join(f"{n} {status}" for status, n in Counter(one[0] for one in found if one[0] != "OK").items())
    }


def main() -> None:
    more: dict[str, dict[str, Any]] = {
        "families": {"nargs": "*", "default": ["farmland", "relief", "real"]},
        "sizes": {"nargs": "*", "type": int, "default": [128, 256, 400]},
        "matcher": {"default": "auto"},
        "pairs": {"type": int, "default": 20, "help": "of a kind and size"},
        "jobs": {"type": int, "default": 1},
    }
    args = arguments(__doc__ or "", **more)
    warnings.simplefilter("ignore")
    report = Report("Images that have only the place in common")
    kinds = {"farmland": SEEN, "relief": RELIEF, "real": MADE}
    for family in args.families:
        rows = []
        for size in args.sizes:
            for kind in kinds[family]:
                tasks = [
                    (family, kind, size, args.matcher, args.seed + i) for i in range(4 if args.quick else args.pairs)
                ]
                found = [one for one in spread(trial, tasks, args.jobs, kind) if one is not None]
                rows.append(row(kind, size, found))
                print(rows[-1], flush=True)
        report.table(f"{family}, matcher={args.matcher!r}", rows)
    report.write(args.out)


if __name__ == "__main__":
    main()
