"""Pairs of images that must not be matched: nothing in common, or only what no shift can be told from.

Each function takes a random generator and the shape of the images and returns (reference, target).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from common import image
from scipy import fft, ndimage

from xcoreg.datasets import sentinel2_pair
from xcoreg.simulate import Acquisition, Product, Texture, blob_mask, pair

Pair = tuple[xr.DataArray, xr.DataArray]
Shape = tuple[int, int]
Generator = np.random.Generator

_MEAN, _STD = 2000.0, 400.0


def _seed(rng: Generator) -> int:
    return int(rng.integers(2**31))


def _scene(rng: Generator, shape: Shape, exponent: float = 1.0) -> np.ndarray:
    """Draw a field of unit variance whose amplitude falls as a power of frequency; its borders do not fit."""
    rows, cols = 2 * shape[0], 2 * shape[1]
    radius = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(cols))
    radius[0, 0] = np.inf
    blur = np.exp(-2 * (np.pi * 0.4 * radius) ** 2, where=np.isfinite(radius), out=np.zeros_like(radius))
    field = fft.irfft2(fft.rfft2(rng.standard_normal((rows, cols))) * blur * radius**-exponent, (rows, cols))
    field = field[: shape[0], : shape[1]]
    return (field - field.mean()) / field.std()


def _noisy(rng: Generator, values: np.ndarray, snr_db: float = 20.0) -> np.ndarray:
    return values + 10 ** (-snr_db / 20) * rng.standard_normal(values.shape)


def _numbers(values: np.ndarray, nodata: float | None = 0) -> xr.DataArray:
    """Digital numbers of values with unit variance."""
    return image((_MEAN + _STD * values).clip(1, 65535).round().astype(np.uint16), nodata=nodata)


def _unrelated(rng: Generator, shape: Shape, exponent: float) -> Pair:
    both = pair(
        shape, shift=None, snr_db=float(rng.uniform(10, 40)), texture=Texture(exponent=exponent), seed=_seed(rng)
    )
    return both.ref, both.tgt


def unrelated_1(rng: Generator, shape: Shape) -> Pair:
    """Other places, amplitude 1/f."""
    return _unrelated(rng, shape, 1.0)


def unrelated_15(rng: Generator, shape: Shape) -> Pair:
    """Other places, amplitude 1/f^1.5."""
    return _unrelated(rng, shape, 1.5)


def unrelated_2(rng: Generator, shape: Shape) -> Pair:
    """Other places, very smooth: amplitude 1/f^2."""
    return _unrelated(rng, shape, 2.0)


def white_noise(rng: Generator, shape: Shape) -> Pair:
    """White noise."""
    both = pair(shape, snr_db=-np.inf, seed=_seed(rng))
    return both.ref, both.tgt


def coloured_noise(rng: Generator, shape: Shape) -> Pair:
    """Noise that went through an interpolation or a filter."""
    sigma = rng.uniform(0.5, 4.0)
    parts = [ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(2)]
    return tuple(_numbers(part / part.std()) for part in parts)  # type: ignore[return-value]


def cloud(rng: Generator, shape: Shape) -> Pair:
    """Other clouds over everything, the same land below."""
    both = pair(
        shape, snr_db=30, ref=Acquisition(clouds=1.0), tgt=Acquisition(clouds=1.0), shift=(3.3, -2.6), seed=_seed(rng)
    )
    return both.ref, both.tgt


def spots(rng: Generator, shape: Shape) -> Pair:
    """One gap in the clouds, one ship or one buoy in each image, not the same."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    size = rng.uniform(1.5, min(shape) / 12)

    def spot() -> np.ndarray:
        row, col = (rng.uniform(0.25, 0.75) * n for n in shape)
        stretch, turn = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
        along, across = (np.cos(turn + at) * (x - col) + np.sin(turn + at) * (y - row) for at in (0, np.pi / 2))
        sea = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
        return 5 * np.exp(-((along / size) ** 2 + (across / size / stretch) ** 2) / 2) + 0.3 * sea / sea.std()

    sign = rng.choice((-1, 1))
    return tuple(_numbers(sign * _noisy(rng, spot())) for _ in range(2))  # type: ignore[return-value]


def periodic(rng: Generator, shape: Shape) -> Pair:
    """Repeat a pattern on both axes, moved by more than its period."""
    period = int(rng.integers(6, 25))
    move = tuple(float(v) for v in rng.uniform(-1.5, 1.5, 2) * period)
    tile = _scene(rng, (period, period), 0.5)
    spectrum = fft.fft2(np.tile(tile, (4, 4)))
    f = fft.fftfreq(4 * period)
    moved = fft.ifft2(spectrum * np.exp(2j * np.pi * (f[:, None] * move[1] + f * move[0]))).real
    rows, cols = np.arange(shape[0]) % (4 * period), np.arange(shape[1]) % (4 * period)
    parts = [np.tile(tile, (4, 4))[np.ix_(rows, cols)], moved[np.ix_(rows, cols)]]
    return tuple(_numbers(_noisy(rng, part)) for part in parts)  # type: ignore[return-value]


def stripes(rng: Generator, shape: Shape) -> Pair:
    """Rows of a crop or of waves: one direction, one wavelength; where they end is unknown."""
    angle, wavelength = rng.uniform(0, np.pi), rng.uniform(4, 20)
    y, x = np.mgrid[: shape[0], : shape[1]]
    phase = 2 * np.pi / wavelength * (np.cos(angle) * x + np.sin(angle) * y)
    parts = [np.sin(phase + rng.uniform(0, 2 * np.pi)) + 0.3 * np.sin(2 * phase) for _ in range(2)]
    return tuple(_numbers(_noisy(rng, part)) for part in parts)  # type: ignore[return-value]


def swell(rng: Generator, shape: Shape) -> Pair:
    """Other waves of one sea: narrow-band, one main direction."""
    angle, wavelength = rng.uniform(0, np.pi), rng.uniform(5, 20)
    f = np.hypot(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1]))
    turn = np.arctan2(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])) - angle
    window = np.exp(-0.5 * ((f * wavelength - 1) / 0.15) ** 2 - 0.5 * (np.sin(turn) / 0.3) ** 2)
    parts = [fft.ifft2(fft.fft2(rng.standard_normal(shape)) * window).real for _ in range(2)]
    return tuple(_numbers(_noisy(rng, part / part.std())) for part in parts)  # type: ignore[return-value]


def constant(rng: Generator, shape: Shape) -> Pair:
    """Not a single difference, or one between the two images."""
    levels = rng.integers(1, 4000, 2)
    return tuple(image(np.full(shape, level, np.uint16), nodata=0) for level in levels)  # type: ignore[return-value]


def flat(rng: Generator, shape: Shape) -> Pair:
    """Flip the last digit here and there."""
    parts = [_MEAN + 0.5 + rng.uniform(0.05, 0.5) * rng.standard_normal(shape) for _ in range(2)]
    return tuple(image(part.round().astype(np.uint16), nodata=0) for part in parts)  # type: ignore[return-value]


def gradient(rng: Generator, shape: Shape) -> Pair:
    """Add the same smooth slope to noise."""
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    slope = x * rng.uniform(-3, 3) + y * rng.uniform(-3, 3) + rng.uniform(-3, 3) * (x - 0.5) ** 2
    return tuple(_numbers(slope + 0.1 * rng.standard_normal(shape)) for _ in range(2))  # type: ignore[return-value]


def water(rng: Generator, shape: Shape) -> Pair:
    """Little contrast, much noise: other waves, common smooth colour."""
    common = ndimage.gaussian_filter(rng.standard_normal(shape), max(shape) / 6)
    common = 3 * common / common.std()
    parts = [200 + common + _scene(rng, shape, 1.5) + 3 * rng.standard_normal(shape) for _ in range(2)]
    return tuple(image(part.round().astype(np.uint16), nodata=0) for part in parts)  # type: ignore[return-value]


def _wedge(rng: Generator, shape: Shape) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle = rng.uniform(0, 2 * np.pi)
    place = np.cos(angle) * x + np.sin(angle) * y
    return place < np.quantile(place, rng.uniform(0.15, 0.45))


def wedge(rng: Generator, shape: Shape) -> Pair:
    """Other places, or noise, under one and the same swath edge."""
    out = _wedge(rng, shape)
    noise = rng.random() < 0.5
    parts = [rng.standard_normal(shape) if noise else _noisy(rng, _scene(rng, shape)) for _ in range(2)]
    arrays = [_numbers(part) for part in parts]
    return tuple(array.copy(data=np.where(out, 0, array.values)) for array in arrays)  # type: ignore[return-value]


def collar(rng: Generator, shape: Shape) -> Pair:
    """Put the same dark collar around other places, without a marker."""
    out = _wedge(rng, shape)
    parts = [_noisy(rng, _scene(rng, shape)) for _ in range(2)]
    arrays = [_numbers(part, nodata=None) for part in parts]
    return tuple(array.copy(data=np.where(out, 0, array.values)) for array in arrays)  # type: ignore[return-value]


def holes(rng: Generator, shape: Shape) -> Pair:
    """Other places, or noise, with the same holes."""
    out = blob_mask(shape, float(rng.uniform(0.1, 0.5)), seed=_seed(rng), scale=max(shape) / rng.uniform(8, 40))
    noise = rng.random() < 0.5
    parts = [rng.standard_normal(shape) if noise else _noisy(rng, _scene(rng, shape)) for _ in range(2)]
    arrays = [_numbers(part) for part in parts]
    return tuple(array.copy(data=np.where(out, 0, array.values)) for array in arrays)  # type: ignore[return-value]


def column_pattern(rng: Generator, shape: Shape) -> Pair:
    """Other places under the same fixed pattern of detector columns."""
    pattern = rng.uniform(0.05, 0.5) * rng.standard_normal(shape[1])
    parts = [_noisy(rng, _scene(rng, shape)) + pattern for _ in range(2)]
    return tuple(_numbers(part) for part in parts)  # type: ignore[return-value]


def fixed_pattern(rng: Generator, shape: Shape) -> Pair:
    """Other places under the same weak fixed pattern of pixels and columns."""
    weak = rng.uniform(0.01, 0.05)
    pattern = weak * rng.standard_normal(shape) + weak * rng.standard_normal(shape[1])
    parts = [_noisy(rng, _scene(rng, shape), 30) + pattern for _ in range(2)]
    return tuple(_numbers(part) for part in parts)  # type: ignore[return-value]


def vignette(rng: Generator, shape: Shape) -> Pair:
    """Other places through the same lens."""
    y, x = (np.mgrid[: shape[0], : shape[1]] - np.reshape(shape, (2, 1, 1)) / 2) / max(shape)
    light = 1 - rng.uniform(0.3, 1.5) * (x**2 + y**2)
    parts = [(_MEAN + _STD * _noisy(rng, _scene(rng, shape))) * light for _ in range(2)]
    return tuple(image(p.clip(1).round().astype(np.uint16), nodata=0) for p in parts)  # type: ignore[return-value]


def blocky(rng: Generator, shape: Shape) -> Pair:
    """Other places, both resampled by nearest neighbour from coarser pixels that coincide."""
    by = int(rng.integers(2, 5))
    small = (-(-shape[0] // by), -(-shape[1] // by))
    parts = [np.kron(_noisy(rng, _scene(rng, small)), np.ones((by, by))) for _ in range(2)]
    return tuple(_numbers(part[: shape[0], : shape[1]]) for part in parts)  # type: ignore[return-value]


def jpeg(rng: Generator, shape: Shape) -> Pair:
    """Other places, both compressed in the same 8 x 8 blocks."""
    high = np.add.outer(np.arange(8), np.arange(8))
    step = rng.uniform(0.1, 0.5) * (1 + high)

    def compressed(values: np.ndarray) -> np.ndarray:
        rows, cols = (-(-n // 8) * 8 for n in values.shape)
        padded = np.pad(values, ((0, rows - shape[0]), (0, cols - shape[1])), mode="edge")
        blocks = padded.reshape(rows // 8, 8, cols // 8, 8).transpose(0, 2, 1, 3)
        kept = fft.idctn(np.round(fft.dctn(blocks, axes=(2, 3), norm="ortho") / step) * step, axes=(2, 3), norm="ortho")
        return kept.transpose(0, 2, 1, 3).reshape(rows, cols)[: shape[0], : shape[1]]

    return tuple(_numbers(compressed(_noisy(rng, _scene(rng, shape)))) for _ in range(2))  # type: ignore[return-value]


def clouds_8bit(rng: Generator, shape: Shape) -> Pair:
    """Saturated 8-bit clouds over most of both images, other land between them."""
    how = Acquisition(clouds=0.7, gain=2.0, offset=40)
    both = pair(shape, shift=None, snr_db=25, ref=how, tgt=how, product=Product(dtype="uint8"), seed=_seed(rng))
    return both.ref, both.tgt


@cache
def _real() -> tuple[np.ndarray, np.ndarray]:
    ref, tgt = (one.values[0] for one in sentinel2_pair())
    return ref, tgt


def elsewhere(rng: Generator, shape: Shape) -> Pair:
    """Two places of the bundled Sentinel-2 scenes, of one date or of two."""
    rows, cols = (min(n, 256) for n in shape)
    images = _real()
    first, second = images[0], images[int(rng.integers(2))]
    while True:
        here, there = (
            (int(rng.integers(one.shape[0] - rows)), int(rng.integers(one.shape[1] - cols))) for one in (first, second)
        )
        if abs(here[0] - there[0]) > rows + 30 or abs(here[1] - there[1]) > cols + 30:
            break
    parts = [one[at[0] : at[0] + rows, at[1] : at[1] + cols].copy() for one, at in ((first, here), (second, there))]
    return tuple(image(part, nodata=0) for part in parts)  # type: ignore[return-value]


_ROOT = Path(os.environ.get("XCOREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
# Real images of several sensors, from 3 cm to 30 m; those that are absent are not drawn from.
_SENSORS = (
    "s2_s2_germany/ref_S2A_20160608T153121_T33UUU_sub.tif",
    "aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif",
    "aerial_s2_l8_south_africa/sentinel2_b432_byte.tif",
    "aerial_s2_l8_south_africa/landsat8_byte.tif",
    "naip/m_4709963_se_14_1_20180716.tif",
    "s2_known_shift/sen2_20210527_aber_subset.tif",
)


@cache
def _images() -> tuple[np.ndarray, ...]:
    """First bands of the real images of several sensors, the bundled scene where there is none."""
    found = []
    for path in (_ROOT / name for name in _SENSORS):
        if path.exists():
            with rasterio.open(path) as file:
                found.append(file.read(1))
    return tuple(found) or _real()


def _crops(rng: Generator, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Two crops of one real image that do not touch, with data in them."""
    images = _images()
    while True:
        one = images[int(rng.integers(len(images)))]
        size = tuple(min(n, m // 3) for n, m in zip(shape, one.shape, strict=True))
        at = np.array([[int(rng.integers(m - n)) for n, m in zip(size, one.shape, strict=True)] for _ in range(2)])
        parts = [one[r : r + size[0], c : c + size[1]].copy() for r, c in at]
        if (np.abs(at[0] - at[1]) > np.array(size) + 10).any() and all((part > 0).mean() > 0.9 for part in parts):
            return parts[0], parts[1]


def crops(rng: Generator, shape: Shape) -> Pair:
    """Two places in one real image of one of several sensors."""
    return tuple(image(part, nodata=0) for part in _crops(rng, shape))  # type: ignore[return-value]


def turned(rng: Generator, shape: Shape) -> Pair:
    """One real place, and the same turned by 180 degrees."""
    part = _crops(rng, shape)[0]
    return image(part, nodata=0), image(part[::-1, ::-1].copy(), nodata=0)


def cloud_decks(rng: Generator, shape: Shape) -> Pair:
    """Decks of clouds of two dates: bright cells of one size, with gaps, no ground in sight."""
    cell = rng.uniform(3, 15)
    parts = []
    for _ in range(2):
        deck = np.maximum(ndimage.gaussian_filter(rng.standard_normal(shape), cell) * cell, -0.05)
        rough = np.abs(_scene(rng, shape, 1.3))
        parts.append(_noisy(rng, 3 * deck / deck.std() + rough * (deck > 0), 30))
    return tuple(_numbers(part / part.std()) for part in parts)  # type: ignore[return-value]


def speckle(rng: Generator, shape: Shape) -> Pair:
    """Radar of two places, one to four looks; now and then of bare ground."""
    looks, bare = rng.uniform(1, 4), rng.random() < 0.3
    parts = []
    for _ in range(2):
        ground = np.ones(shape) if bare else np.exp(0.4 * _scene(rng, shape, 1.2))
        parts.append(np.sqrt(ground * rng.gamma(looks, 1 / looks, shape)))
    return tuple(image((500 * part).clip(1, 65535).round().astype(np.uint16), nodata=0) for part in parts)  # type: ignore[return-value]


def radar_optical(rng: Generator, shape: Shape) -> Pair:
    """Radar of one place, an optical image of another one."""
    optical, _ = _crops(rng, shape)
    _, radar = speckle(rng, optical.shape)
    return image(optical, nodata=0), radar


def _parcels(rng: Generator, shape: Shape, side: float, roads: float, lattice: Generator) -> tuple[np.ndarray, Any]:
    """Numbers of the cells of a lattice with roads (-1) between them, and levels of the cells; an offset of its own."""
    y, x = np.mgrid[: shape[0], : shape[1]] + rng.uniform(0, side, (2, 1, 1))
    turn = lattice.uniform(-0.1, 0.1) if lattice.random() < 0.7 else lattice.uniform(0, np.pi / 2)
    across, down = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    col, row = (np.floor(one / side).astype(int) for one in (across, down))
    off = [one - side * np.floor(one / side) for one in (across, down)]
    cells = (row - row.min()) * 4096 + col - col.min()
    cells = np.unique(cells, return_inverse=True)[1].reshape(shape)
    return np.where(np.minimum(*off) < roads, -1, cells), off


def _seen(rng: Generator, scene: np.ndarray) -> np.ndarray:
    """Add texture and noise to a scene seen through optics."""
    soft = ndimage.gaussian_filter(scene, 0.6)
    return _noisy(rng, soft / max(soft.std(), 1e-9) + 0.15 * _scene(rng, scene.shape))


def _self_similar(rng: Generator, draw: Callable[[Generator, Generator, float], np.ndarray]) -> Pair:
    """Two places laid out by one rule: the same sides and directions, other offsets, other contents."""
    side, rule = rng.uniform(10, 40), int(rng.integers(2**31))
    parts = [_seen(rng, draw(rng, np.random.default_rng(rule), side)) for _ in range(2)]
    return tuple(_numbers(part) for part in parts)  # type: ignore[return-value]


def pivots(rng: Generator, shape: Shape) -> Pair:
    """Circles of irrigation in other places, each in a square of one size; some bare soil, all of other brightness."""

    def draw(rng: Generator, rule: Generator, side: float) -> np.ndarray:
        cells, off = _parcels(rng, shape, side, 0.0, rule)
        level = rng.standard_normal(cells.max() + 1)
        circle = np.hypot(off[0] - side / 2, off[1] - side / 2) < 0.46 * side
        return np.where(circle & (rng.random(len(level)) < 0.8)[cells], level[cells], -1.0)

    return _self_similar(rng, draw)


def blocks(rng: Generator, shape: Shape) -> Pair:
    """Blocks of buildings of two towns, streets at one distance and in one direction."""

    def draw(rng: Generator, rule: Generator, side: float) -> np.ndarray:
        cells, off = _parcels(rng, shape, side, max(0.12 * side, 1.5), rule)
        roofs = (np.floor(4 * off[0] / side) * 4 + np.floor(4 * off[1] / side)).astype(int)
        level = rng.standard_normal((cells.max() + 1, 25))
        return np.where(cells < 0, -1.5, 0.5 * level[cells, roofs] + 0.5 * level[cells, 0])

    return _self_similar(rng, draw)


def checkered(rng: Generator, shape: Shape) -> Pair:
    """Square fields of two places, of one size and direction, each of a brightness of its own."""

    def draw(rng: Generator, rule: Generator, side: float) -> np.ndarray:
        cells, _ = _parcels(rng, shape, side, rule.choice([0.0, 1.0]), rule)
        return np.where(cells < 0, 2.0, rng.standard_normal(cells.max() + 1)[cells])

    return _self_similar(rng, draw)


def rows(rng: Generator, shape: Shape) -> Pair:
    """Orchards of two places: trees in rows at one distance, in fields of other shapes, some trees missing."""

    def draw(rng: Generator, rule: Generator, side: float) -> np.ndarray:
        _, off = _parcels(rng, shape, max(side / 4, 3.0), 0.0, rule)
        trees = np.hypot(off[0] - off[0].mean(), off[1] - off[1].mean()) < max(side / 12, 1.0)
        fields = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5 * side)
        return trees * (fields > np.quantile(fields, 0.25)) + 0.5 * (fields > np.quantile(fields, 0.6))

    return _self_similar(rng, draw)


KINDS: dict[str, Callable[[Generator, Shape], Pair]] = {
    f.__name__: f
    for f in (
        unrelated_1,
        unrelated_15,
        unrelated_2,
        white_noise,
        coloured_noise,
        cloud,
        clouds_8bit,
        elsewhere,
        spots,
        periodic,
        stripes,
        swell,
        constant,
        flat,
        gradient,
        water,
        wedge,
        collar,
        holes,
        column_pattern,
        fixed_pattern,
        vignette,
        blocky,
        jpeg,
        crops,
        turned,
        cloud_decks,
        speckle,
        radar_optical,
        pivots,
        blocks,
        checkered,
        rows,
    )
}
