"""Pairs of elevation models of many kinds and their true corrections: what benchmarks/dem_kinds.py runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, median_filter

from xcoreg.simulate.pairs import blob_mask, georeferenced
from xcoreg.simulate.terrain import DemNoise, _errors, elevations

GSD, EPSG = 20.0, "EPSG:32633"
_ROOM = 130  # px of terrain around the scene
Floats = NDArray[np.float64]


@dataclass(eq=False)
class Scene:
    """A pair, the truth (dx, dy, dz) at every pixel of the target, m, and how it is matched.

    truth : (3, rows, cols); at the pixels of `tgt`, or of the grid it was made on; x, y : their map positions.
    options : Of `match`; local : those of `match_local`, where blocks are the way.
    unmodelled : Whether the right answer is a flag, a refusal or a small error, and not a small z-score.
    """

    ref: Any
    tgt: xr.DataArray
    truth: Floats
    x: Floats
    y: Floats
    options: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] | None = None
    unmodelled: bool = False


@dataclass(eq=False)
class Ground:
    """Terrain that can be sampled anywhere, and random numbers."""

    shape: tuple[int, int]
    seed: int
    rough: float = 0.0
    relief: float = 110.0
    bias: float = 1.0  # size of what kinds with a bias= add: 0 for what is left without it

    def __post_init__(self) -> None:
        size = tuple(n + 2 * _ROOM for n in self.shape)
        self.rng = np.random.default_rng([self.seed, 77])
        self.heights = elevations(size, self.seed, relief=self.relief)(0.0, 0.0)
        if self.rough:
            self.heights = self.heights + self.rough * gaussian_filter(self.rng.standard_normal(size), 1.0)
        self.base = self.rng.uniform([-30, -30, -5], [30, 30, 5])
        rows, cols = np.mgrid[: self.shape[0], : self.shape[1]].astype(float)
        self.rows, self.cols = rows, cols
        self.x, self.y = 5e5 + GSD * (cols + 0.5), 54e5 - GSD * (rows + 0.5)

    def at(self, x: Floats, y: Floats) -> Floats:
        """Heights at map positions."""
        rows, cols = (54e5 - y) / GSD - 0.5 + _ROOM, (x - 5e5) / GSD - 0.5 + _ROOM
        return np.asarray(map_coordinates(self.heights, [rows, cols], order=5, mode="nearest"))

    def slopes(self) -> tuple[Floats, Floats]:
        """Slopes (m per m) to the East and North."""
        north, east = np.gradient(self.at(self.x, self.y), GSD)
        return east, -north

    def noise(self, white: float = 0.5, correlated: float = 1.0, length: float = 5.0, blunders: float = 0.0) -> Floats:
        """Errors of an elevation model."""
        return _errors(self.shape, DemNoise(white, correlated, length, blunders), self.rng)

    def moved(self, dx: Any, dy: Any, dz: Any) -> tuple[Floats, Floats]:
        """Target that the correction brings onto the terrain, and the truth."""
        truth = np.stack([np.broadcast_to(np.asarray(part, float), self.shape) for part in (dx, dy, dz)])
        return self.at(self.x + truth[0], self.y + truth[1]) - truth[2], truth

    def shifted(self, scale: float = 1.0) -> tuple[Floats, Floats]:
        """Target that a constant correction brings onto the terrain."""
        return self.moved(*(self.base * [scale, scale, 1]))

    def image(self, values: Floats) -> xr.DataArray:
        """Elevation model on the grid of the scene."""
        return georeferenced(values.astype(np.float32), Affine(GSD, 0, 5e5, 0, -GSD, 54e5), EPSG)

    def pair(self, target: tuple[Floats, Floats], noise: Floats | None = None, **more: Any) -> Scene:
        """Scene of a target and the terrain."""
        noise = self.noise() if noise is None else noise
        tgt = self.image(target[0] + noise)
        return Scene(self.image(self.at(self.x, self.y)), tgt, target[1], self.x, self.y, **more)


def rotation(angles: Any) -> Floats:
    """Rotation matrix of angles about x, y, z, degrees."""
    a, b, c = np.radians(angles)
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def turned(ground: Ground, angles: Any, scale: float = 1.0) -> tuple[Floats, Floats]:
    """Target that a rotation about the middle of the scene, and a shift, bring onto the terrain, and the truth."""
    matrix, centre = rotation(angles) * scale, np.array([ground.x.mean(), ground.y.mean(), ground.heights.mean()])
    z = ground.at(ground.x, ground.y)
    for _ in range(12):
        place = np.stack([ground.x, ground.y, z]) - centre[:, None, None]
        goal = np.einsum("ij,jrc->irc", matrix, place) + (centre + ground.base)[:, None, None]
        z = z + (ground.at(goal[0], goal[1]) - goal[2])
    return z, goal - np.stack([ground.x, ground.y, z])


def rigid(angles: Any, **more: Any) -> Callable[[Ground], Scene]:
    """Pair that differs by a rotation and a shift."""
    return lambda ground: ground.pair(turned(ground, angles), **more)


def _spikes(share: float) -> Callable[[Ground], Scene]:
    def make(ground: Ground) -> Scene:
        noise, rng = ground.noise(), ground.rng
        wrong = rng.random(ground.shape) < share
        size = rng.uniform(50, 300, int(wrong.sum())) * rng.choice([-1, 1], int(wrong.sum()))
        noise[wrong] += size
        return ground.pair(ground.shifted(), noise)

    return make


def _glaciers(masked: bool) -> Callable[[Ground], Scene]:
    def make(ground: Ground) -> Scene:
        ice = np.asarray(blob_mask(ground.shape, 0.12, scale=40.0, seed=ground.seed))
        loss = np.where(
            ice, np.clip(22 + 9 * gaussian_filter(ground.rng.standard_normal(ground.shape), 20) * 60, 5, 40), 0
        )
        scene = ground.pair(ground.shifted())
        scene.ref = ground.image(scene.ref.values - loss)
        if masked:
            scene.options["where"] = georeferenced((~ice).astype(np.uint8), Affine(GSD, 0, 5e5, 0, -GSD, 54e5), EPSG)
        return scene

    return make


def _void(marker: float, recorded: bool = False) -> Callable[[Ground], Scene]:
    def make(ground: Ground) -> Scene:
        scene = ground.pair(ground.shifted())
        hole = np.asarray(blob_mask(ground.shape, 0.067, scale=40.0, seed=ground.seed + 5))
        scene.tgt = ground.image(np.where(hole, marker, scene.tgt.values))
        if recorded:
            scene.tgt = scene.tgt.rio.write_nodata(marker)
        return scene

    return make


def _other_gsd(factor: float) -> Callable[[Ground], Scene]:
    """Make a reference on pixels of another size, without noise."""

    def make(ground: Ground) -> Scene:
        scene = ground.pair(ground.shifted())
        gsd, shape = GSD * factor, [int(n / factor) for n in ground.shape]
        rows, cols = np.mgrid[: shape[0], : shape[1]].astype(float)
        heights = ground.at(5e5 + 3 + gsd * (cols + 0.5), 54e5 - 2 - gsd * (rows + 0.5)).astype(np.float32)
        scene.ref = georeferenced(heights, Affine(gsd, 0, 5e5 + 3, 0, -gsd, 54e5 - 2), EPSG)
        return scene

    return make


def _degrees(ground: Ground) -> Scene:
    """Target in longitude and latitude."""
    from pyproj import Transformer

    way = Transformer.from_crs(EPSG, 4326, always_xy=True)
    inner = ground.x[12:-12, 12:-12], ground.y[12:-12, 12:-12]
    lon, lat = way.transform(*inner)
    step = 3e-4, 1.8e-4
    n = int((np.ptp(lat)) / step[1]) - 4, int(np.ptp(lon) / step[0]) - 4
    west, north = lon.min() + 2 * step[0], lat.max() - 2 * step[1]
    rows, cols = np.mgrid[: n[0], : n[1]].astype(float)
    own = west + (cols + 0.5) * step[0], north - (rows + 0.5) * step[1]
    back = Transformer.from_crs(4326, EPSG, always_xy=True)
    shift = ground.base[:2] / [72000.0, 111000.0]
    x, y = back.transform(own[0] + shift[0], own[1] + shift[1])
    noise = _errors(n, DemNoise(0.5, 1.0, 5.0, 0.0), ground.rng)
    heights = ground.at(np.asarray(x), np.asarray(y)) - ground.base[2] + noise
    tgt = georeferenced(heights.astype(np.float32), Affine(step[0], 0, west, 0, -step[1], north), "EPSG:4326")
    truth = np.stack([np.full(n, part) for part in (*shift, ground.base[2])])
    return Scene(ground.image(ground.at(ground.x, ground.y)), tgt, truth, *own)


def _forest(ground: Ground) -> Scene:
    """Canopy of 15 m that was not there in the reference, on slopes that face North."""
    east, north = ground.slopes()
    facing = np.arctan2(-east, -north) % (2 * np.pi)
    wood = (np.cos(facing) > 0.5) & (np.hypot(east, north) > 0.08)
    return ground.pair(ground.shifted(), ground.noise() + np.where(median_filter(wood, 5), 15.0, 0.0), unmodelled=True)


def _far(pixels: float) -> Callable[[Ground], Scene]:
    def make(ground: Ground) -> Scene:
        way = ground.rng.uniform(0, 2 * np.pi)
        ground.base[:2] = np.array([np.cos(way), np.sin(way)]) * pixels * GSD
        return ground.pair(ground.shifted())

    return make


def _waves(period: float) -> Callable[[Ground], Scene]:
    """Undulation of 2 m along the track, which is a little inclined."""

    def make(ground: Ground) -> Scene:
        along = ground.rows * np.cos(0.2) + ground.cols * np.sin(0.2)
        dz = 2 * ground.bias * np.sin(2 * np.pi * along / period + 1) + ground.base[2]
        options = {"matcher": "nuth_kaab", "bias": "along_track"}
        return ground.pair(ground.moved(ground.base[0], ground.base[1], dz), options=options)

    return make


def _seams(ground: Ground) -> Scene:
    steps = ground.rng.normal(0, 3, (3, 4))
    tiles = steps[(ground.rows * 3 // ground.shape[0]).astype(int), (ground.cols * 4 // ground.shape[1]).astype(int)]
    target = ground.moved(ground.base[0], ground.base[1], tiles + ground.base[2])
    return ground.pair(target, local={"matcher": "nuth_kaab", "spacing": 50, "window": 50})


def _blocks(block: int, length: float) -> Callable[[Ground], Scene]:
    """Blocks of two models that differ by one shift, and by noise that blocks share."""
    local = {"matcher": "nuth_kaab", "spacing": block, "window": block}
    return lambda ground: ground.pair(ground.shifted(), ground.noise(0.3, 2.0, length), local=local)


def _sheared(ground: Ground) -> Scene:
    """Two tiles that lie 2 to 3 px apart, and hardly differ in height."""
    across, step = ground.rng.uniform(130, 270), ground.rng.choice([-1, 1], 2) * ground.rng.uniform(2, 3, 2) * GSD / 2
    side = np.where(ground.cols < across, -1.0, 1.0)
    moves = ground.base[:, None, None] + np.stack([step[0] * side, step[1] * side, 0.25 * side])
    return ground.pair(ground.moved(*moves), local={"matcher": "nuth_kaab", "spacing": 50, "window": 50})


def _terrain_bias(name: str) -> Callable[[Ground], Scene]:
    def make(ground: Ground) -> Scene:
        # Of the terrain that the target shows, not of that which lies there once it is corrected.
        heights = ground.at(ground.x + ground.base[0], ground.y + ground.base[1])
        north, east = np.gradient(heights, GSD)
        slope = np.degrees(np.arctan(np.hypot(east, north)))
        curved = gaussian_filter(np.gradient(np.gradient(heights, axis=0), axis=0), 1) + gaussian_filter(
            np.gradient(np.gradient(heights, axis=1), axis=1), 1
        )
        extra = {
            "elevation": 0.015 * (heights - heights.mean()),
            "slope": 3 * (slope / 30.0) ** 1.5,
            "curvature": 4 * np.tanh(curved / (2 * curved.std())),
        }[name] * ground.bias
        options = {"matcher": "nuth_kaab", "bias": name}
        target = ground.moved(ground.base[0], ground.base[1], ground.base[2] + extra)
        return ground.pair(target, options=options)

    return make


def _jitter(ground: Ground) -> Scene:
    """Lines that shake by 5 m along three axes."""
    t = ground.rows[:, :1]
    waves = [3 * np.sin(2 * np.pi * t / 37 + k) + 2 * np.sin(2 * np.pi * t / 90 + 2 * k) for k in range(3)]
    shakes = [ground.bias * one for one in waves]
    dx, dy, dz = (base + shake for base, shake in zip(ground.base, (*shakes[:2], 0.3 * shakes[2]), strict=True))
    return ground.pair(ground.moved(dx, dy, dz), options={"matcher": "nuth_kaab", "bias": "jitter"})


def _points(n: int) -> Callable[[Ground], Scene]:
    """Points of known height in no order, 0.2 m."""

    def make(ground: Ground) -> Scene:
        import geopandas as gpd

        rng, scene = ground.rng, ground.pair(ground.shifted())
        col, row = rng.uniform(6, ground.shape[1] - 7, n), rng.uniform(6, ground.shape[0] - 7, n)
        x, y = 5e5 + GSD * col, 54e5 - GSD * row
        z = ground.at(x, y) + rng.normal(0, 0.2, n)
        scene.ref = gpd.GeoDataFrame({"z": z}, geometry=gpd.points_from_xy(x, y), crs=EPSG)
        return scene

    return make


def _slope_noise(ground: Ground) -> Scene:
    """Noise that grows with the slope."""
    east, north = ground.slopes()
    return ground.pair(ground.shifted(), ground.noise(0.3, 0.6) * (1 + 6 * np.hypot(east, north)))


def _noise(**how: float) -> Callable[[Ground], Scene]:
    return lambda ground: ground.pair(ground.shifted(), ground.noise(**how))


def _long(ground: Ground) -> Scene:
    """Noise of two ranges."""
    noise = ground.noise(0.3, 0.7, 4.0) + ground.noise(0.0, 0.7, 25.0)
    return ground.pair(ground.shifted(), noise)


def _plain(ground: Ground) -> Scene:
    return ground.pair(ground.shifted())


#: Kinds by name: what makes a scene, and the arguments of its terrain.
KINDS: dict[str, tuple[Callable[[Ground], Scene], dict[str, Any]]] = {
    "base": (_plain, {}),
    "clean": (_noise(white=0.05, correlated=0.0), {}),
    "white": (_noise(white=2.0, correlated=0.0), {}),
    "long": (_noise(white=0.3, correlated=1.0, length=25.0), {}),
    "two ranges": (_long, {}),
    "slope noise": (_slope_noise, {}),
    "rough": (_plain, {"rough": 12.0}),
    "gentle": (_plain, {"relief": 25.0}),
    "glaciers": (_glaciers(True), {}),
    "glaciers seen": (_glaciers(False), {}),
    "spikes 2": (_spikes(0.02), {}),
    "spikes 10": (_spikes(0.1), {}),
    "spikes 20": (_spikes(0.2), {}),
    "void -9999": (_void(-9999.0), {}),
    "void -32768": (_void(-32768.0), {}),
    "void -3.4e38": (_void(-3.4028234663852886e38), {}),
    "void 0": (_void(0.0), {}),
    "void recorded": (_void(-9999.0, True), {}),
    "GSD 10": (_other_gsd(0.5), {}),
    "GSD 15": (_other_gsd(0.75), {}),
    "GSD 50": (_other_gsd(2.5), {}),
    "lon/lat": (_degrees, {}),
    "forest": (_forest, {}),
    "points 25": (_points(25), {}),
    "points 500": (_points(500), {}),
    "points 2000": (_points(2000), {}),
    "points 10000": (_points(10000), {}),
    "20 px": (_far(20), {}),
    "40 px": (_far(40), {}),
    "60 px": (_far(60), {}),
    "90 px": (_far(90), {}),
    "turned 0.1": (rigid((0, 0, 0.1), options={"matcher": "rigid"}), {}),
    "turned 0.5": (rigid((0, 0, 0.5), options={"matcher": "rigid"}), {}),
    "turned 1": (rigid((0, 0, 1.0), options={"matcher": "rigid"}), {}),
    "turned 1 shift": (rigid((0, 0, 1.0), unmodelled=True), {}),
    "turned 0.1 shift": (rigid((0, 0, 0.1), unmodelled=True), {}),
    "tilt": (rigid((0.1, 0.0, 0), options={"matcher": "rigid"}), {}),
    "tilt deramp": (rigid((0.1, 0.0, 0), options={"matcher": ["nuth_kaab", "deramp"]}), {}),
    "xyz 0.2": (rigid((0.2, -0.2, 0.2), options={"matcher": "rigid"}), {}),
    "waves 15": (_waves(15), {}),
    "waves 60": (_waves(60), {}),
    "seams": (_seams, {}),
    "sheared": (_sheared, {}),
    "blocks 25, 12": (_blocks(25, 12.0), {}),
    "blocks 50, 25": (_blocks(50, 25.0), {}),
    "blocks 50, 60": (_blocks(50, 60.0), {}),
    "blocks 125, 25": (_blocks(125, 25.0), {}),
    "elevation": (_terrain_bias("elevation"), {}),
    "slope": (_terrain_bias("slope"), {}),
    "curvature": (_terrain_bias("curvature"), {}),
    "jitter": (_jitter, {}),
}


def make(name: str, seed: int, shape: tuple[int, int] = (300, 400), *, plain: bool = False) -> Scene:
    """Make the scene of a kind; `plain` leaves out its bias, and bias=."""
    build, terrain = KINDS[name]
    scene = build(Ground(shape, seed, **terrain, bias=1.0 - plain))
    scene.options.setdefault("matcher", "nuth_kaab")
    if plain:
        scene.options.pop("bias", None)
    return scene


def unrelated(seed: int, shape: tuple[int, int] = (200, 260)) -> dict[str, tuple[xr.DataArray, xr.DataArray]]:
    """Pairs (target, reference) that no correction brings together."""
    one, two = Ground(shape, seed), Ground(shape, seed + 1000)
    rng, here, there = one.rng, one.at(one.x, one.y), two.at(two.x, two.y)
    east, north = one.slopes()
    shade = 255 * np.clip((1 - east + north) / np.sqrt(3 * (1 + east**2 + north**2)), 0, 1)
    flat = 0.3 * rng.standard_normal((2, *shape))
    moved = one.moved(20.0, 10.0, 2.0)[0] + one.noise()
    pairs = {
        "terrain": (there, here),
        "gentle terrain": (there / 8, here / 8),
        "noise": (flat[0] * 50, flat[1] * 50),
        "flat": (flat[0], flat[1]),
        "plane": (0.02 * one.x + flat[0], 0.02 * one.x + flat[1]),
        "hillshade": (shade, here),
        "feet": (moved * 3.2808399, here),
        "centimetres": (moved * 100, here),
        "sign": (-moved, here),
        "constant": (np.full(shape, 700.0), here),
        "mirrored": (here[:, ::-1], here),
    }
    return {name: (one.image(np.array(tgt)), one.image(np.array(ref))) for name, (tgt, ref) in pairs.items()}


def modes_of_noise(shape: tuple[int, int], length: float, rng: np.random.Generator) -> Floats:
    """Noise of unit variance with a Gaussian autocorrelation of a length, px."""
    rows, cols = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])
    kernel = np.exp(-((np.pi * length) ** 2) * (rows**2 + cols**2))
    soft = fft.irfft2(fft.rfft2(rng.standard_normal(shape)) * kernel, shape)
    return np.asarray(soft / soft.std())
