"""The cases that break other tools, each simulated with its exact truth.

`cases()` yields a name and a function that makes a `Case`: nothing is drawn before it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from common import NORTH_UP, image

from xcoreg.georef import map_to_pixel, pixel_to_map, transform_points
from xcoreg.simulate import Acquisition, Product, SimulatedPair, Texture, pair, similarity

SHIFT = (0.357, -1.566)


@dataclass(frozen=True, eq=False)
class Case:
    """Two images and what a tool should say about them.

    Parameters
    ----------
    ref, tgt : DataArray
    truth : (dx, dy)
        Correction in CRS units of the target; where the images differ by more than a shift, that at the centre.
    wanted : {"answer", "refusal", "either"}
        Either: a single shift is nearly right; an answer must be the one at the centre.
    options : dict
        For `match`.
    """

    ref: xr.DataArray
    tgt: xr.DataArray
    truth: tuple[float, float]
    wanted: str = "answer"
    options: dict[str, Any] = field(default_factory=dict)


def simulated(
    size: int | tuple[int, int] = 400, *, wanted: str = "answer", options: dict[str, Any] | None = None, **how: Any
) -> Case:
    """Take a case that `simulate.pair` makes as it is."""
    both = _pair(size, **how)
    return Case(both.ref, both.tgt, both.map_shift, wanted, options or {})


def _pair(size: int | tuple[int, int], **how: Any) -> SimulatedPair:
    shape = (size, size) if isinstance(size, int) else size
    return pair(shape, **{"shift": SHIFT, "seed": 11, **how})


def reprojected(size: int, by: int, method: str, *, both: bool = False, shift: tuple[float, float] = SHIFT) -> Case:
    """Bring a target, or both images, from pixels `by` times as large to 10 m with rasterio."""
    coarse = Acquisition(coarser=by)
    drawn = _pair(size, shift=shift, tgt=coarse, ref=coarse if both else Acquisition())
    tgt, ref = (_finer(one, size, method) if one.shape[0] < size else one for one in (drawn.tgt, drawn.ref))
    return Case(ref, tgt, drawn.map_shift, "either" if both else "answer")


def _finer(coarse: xr.DataArray, size: int, method: str) -> xr.DataArray:
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    out = np.zeros((size, size), np.float32)
    crs = coarse.rio.crs
    reproject(
        coarse.values.astype(np.float32),
        out,
        src_transform=Affine(*_six(coarse)),
        dst_transform=NORTH_UP,
        src_crs=crs,
        dst_crs=crs,
        resampling=Resampling[method],
    )
    return image(out.round().astype(np.uint16), nodata=0)


def _six(array: xr.DataArray) -> tuple[float, ...]:
    c, a, b, f, d, e = map(float, array.spatial_ref.attrs["GeoTransform"].split())
    return a, b, c, d, e, f


def holed(kind: str) -> Case:
    """Holes: 5 x 5 NaN, 120 px nodata, -inf around."""
    dtype = "uint16" if kind == "nodata 120 px" else "float32"
    drawn = _pair(400, product=Product(dtype=dtype, nodata=0 if dtype == "uint16" else None))
    ref, tgt = drawn.ref, drawn.tgt
    if kind == "NaN 5 x 5":
        tgt.values[198:203, 205:210] = np.nan
        ref.values[120:125, 230:235] = np.nan
    elif kind == "nodata 120 px":
        tgt.values[150:270, 140:260] = 0
    else:
        wedge = np.add.outer(np.arange(400) * 0.2, np.arange(400)) < 110
        tgt.values[wedge] = -np.inf
        ref.values[wedge[:, ::-1]] = -np.inf
        if kind == "-inf stored":
            for array in (ref, tgt):
                array.rio.write_nodata(-np.inf, inplace=True)
    return Case(ref, tgt, drawn.map_shift)


def south_up(which: str) -> Case:
    """One image, or both, with rows from South to North."""
    drawn = _pair(400)
    flipped = Affine(10.0, 0.0, NORTH_UP.c, 0.0, 10.0, NORTH_UP.f - 4000.0)

    def turn(array: xr.DataArray, name: str) -> xr.DataArray:
        return image(array.values[::-1].copy(), nodata=0, transform=flipped) if which in (name, "both") else array

    return Case(turn(drawn.ref, "reference"), turn(drawn.tgt, "target"), drawn.map_shift)


def other_crs(crs: str, gsd: tuple[float, float], size: int = 600, correction: tuple[float, float] = SHIFT) -> Case:
    """Put the target on a grid of another CRS, correct to the millimetre: no resampling takes part."""
    x, y = transform_points("EPSG:32633", crs, 300000.0 + 5 * size, 5900040.0 - 5 * size)
    gx, gy = gsd
    transform = Affine(gx, 0.0, float(x) - gx * size / 2, 0.0, -gy, float(y) + gy * size / 2)
    dx, dy = correction[0] * gx, -correction[1] * gy

    def truth(rows: Any, cols: Any, /) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = np.broadcast_arrays(np.asarray(rows, float), np.asarray(cols, float))
        x, y = pixel_to_map(transform, cols, rows)
        east, north = transform_points(crs, "EPSG:32633", np.ravel(x) + dx, np.ravel(y) + dy)
        col, row = map_to_pixel(NORTH_UP, east.reshape(rows.shape), north.reshape(rows.shape))
        return col - cols, row - rows

    drawn = _pair(size, shift=truth)
    return Case(drawn.ref, image(drawn.tgt.values, nodata=0, transform=transform, crs=crs), (dx, dy))


def off_grid(dx: float, dy: float, coarser: int = 1) -> Case:
    """Pixels of the two images that do not lie on each other."""
    drawn = _pair(600, tgt=Acquisition(coarser=coarser))
    a, b, c, d, e, f = _six(drawn.tgt)
    moved = image(drawn.tgt.values, nodata=0, transform=Affine(a, b, c + dx, d, e, f + dy))
    east, north = drawn.map_shift
    return Case(drawn.ref, moved, (east - dx, north - dy))


def cloudy(fraction: float, masked: bool) -> Case:
    """Clouds in both images, told by masks or not."""
    drawn = _pair(400, ref=Acquisition(clouds=fraction), tgt=Acquisition(clouds=fraction))
    options = {"where": ~drawn.tgt_cloud, "ref_where": ~drawn.ref_cloud} if masked else {}
    return Case(drawn.ref, drawn.tgt, drawn.map_shift, "answer" if masked else "either", options)


def turned(size: int, degrees: float = 0.0, scale: float = 1.0, options: dict[str, Any] | None = None) -> Case:
    """Rotation or scale about the centre: no single shift is right."""
    move = similarity((size, size), degrees=degrees, scale=scale, shift=SHIFT)
    worst = size / 2 * np.hypot(np.radians(degrees), scale - 1)
    return simulated(size, shift=move, wanted="refusal" if worst > 1 else "either", options=options)


def cases() -> Iterator[tuple[str, Callable[[], Case]]]:
    """Every case by name."""
    yield "plain, exponent 1", partial(simulated)
    yield "plain, exponent 1.5", partial(simulated, texture=Texture(exponent=1.5))
    for by in (3, 2):
        yield (
            f"target resampled from {10 * by} m (own cubic)",
            partial(simulated, 402, tgt=Acquisition(resampled_from=by)),
        )
        for method in ("nearest", "bilinear", "cubic"):
            yield f"target {10 * by} m -> 10 m, {method} (rasterio)", partial(reprojected, 402, by, method)
    for method in ("nearest", "cubic"):
        yield (
            f"both 30 m -> 10 m, {method} (rasterio)",
            partial(reprojected, 402, 3, method, both=True, shift=(3.357, -1.566)),
        )
    blur = Acquisition(blur=1.0)
    yield "both blurred by 1 px", partial(simulated, ref=blur, tgt=blur)
    yield "target alone blurred by 1 px", partial(simulated, tgt=blur)
    yield "both blurred by 1 px, window 64", partial(simulated, ref=blur, tgt=blur, options={"window": 64})
    yield "window 64", partial(simulated, options={"window": 64})
    yield "one window of 64 px", partial(simulated, options={"window": 64, "windows": 1})
    yield from _turns()
    for kind in ("NaN 5 x 5", "nodata 120 px", "-inf stored", "-inf not stored"):
        yield f"hole: {kind}", partial(holed, kind)
    for which in ("target", "reference", "both"):
        yield f"south-up: {which}", partial(south_up, which)
    yield from _grids()
    for masked in (True, False):
        for fraction in (0.2, 0.5):
            word = "masked" if masked else "not masked"
            yield f"clouds over {100 * fraction:.0f} % of each, {word}", partial(cloudy, fraction, masked)
    yield from _extremes()


def _turns() -> Iterator[tuple[str, Callable[[], Case]]]:
    for size in (400, 1000):
        for degrees in (0.3, 0.5, 1.0, 2.0):
            yield f"rotation {degrees:g} degree, {size} px", partial(turned, size, degrees)
        for scale in (1.005, 1.01, 1.02):
            yield f"scale {100 * (scale - 1):.1f} %, {size} px", partial(turned, size, 0.0, scale)
    yield "rotation 0.5 degree, one window of 256 px", partial(turned, 1000, 0.5, options={"windows": 1})


def _grids() -> Iterator[tuple[str, Callable[[], Case]]]:
    yield "CRS: EPSG:32632 (next zone)", partial(other_crs, "EPSG:32632", (10.0, 10.0))
    yield "CRS: EPSG:3857", partial(other_crs, "EPSG:3857", (16.6, 16.6))
    yield "CRS: EPSG:4326", partial(other_crs, "EPSG:4326", (1.5e-4, 9e-5))
    yield "CRS: EPSG:4326, square pixels", partial(other_crs, "EPSG:4326", (1.2e-4, 1.2e-4))
    for by in (2, 3, 6):
        yield f"GSD ratio {by}, target coarser", partial(simulated, 900, tgt=Acquisition(coarser=by))
        yield f"GSD ratio {by}, reference coarser", partial(simulated, 900, ref=Acquisition(coarser=by))
    two, three = Acquisition(coarser=2), Acquisition(coarser=3)
    yield "GSD ratio 1.5, target coarser", partial(simulated, 900, tgt=three, ref=two)
    yield "GSD ratio 1.5, reference coarser", partial(simulated, 900, tgt=two, ref=three)
    yield "grids off by (3.7, -2.2) m", partial(off_grid, 3.7, -2.2)
    yield "grids off by (3.7, -2.2) m, GSD ratio 2", partial(off_grid, 3.7, -2.2, 2)
    wide = Affine(10.0, 0.0, 300000.0, 0.0, -15.0, 5900040.0)
    yield "pixels of 10 x 15 m", partial(simulated, product=Product(transform=wide))
    cos, sin = 10 * np.cos(0.3), 10 * np.sin(0.3)
    turn = Affine(cos, -sin, 300000.0, -sin, -cos, 5900040.0)
    yield "both grids turned by 17 degrees", partial(simulated, product=Product(transform=turn))


def _extremes() -> Iterator[tuple[str, Callable[[], Case]]]:
    for size in (400, 1000):
        for far in (5, 20, 50, 100):
            yield f"shift of {far} px, {size} px", partial(simulated, size, shift=(far + 0.357, -0.566 * far))
    yield "image of 48 px", partial(simulated, 48)
    yield "image of 32 px", partial(simulated, 32, shift=(0.357, -0.566))
    yield "image of 40 x 600 px", partial(simulated, (40, 600))
    yield "image of 600 x 40 px", partial(simulated, (600, 40))
    yield "uint8", partial(simulated, product=Product(dtype="uint8"))
    yield (
        "contrast reversed, contrast='any'",
        partial(simulated, tgt=Acquisition(gain=-1.0), options={"contrast": "any"}),
    )
    yield "contrast reversed, nothing said", partial(simulated, tgt=Acquisition(gain=-1.0), wanted="either")
