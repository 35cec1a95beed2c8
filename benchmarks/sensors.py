"""Measure what sigma is worth on images that sensors, optics, clouds, compression and resampling have changed.

Scenes are drawn in the Fourier plane on pixels half as large as the images' own, so that they alias as real ones do.
Every pair has a spectrum, a shift of up to 1.5 px and a noise of its own (20 to 32 dB). One is right for the mean
square of errors over their variance; ellipses of 68 and 95 % should hold so many truths.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from common import Report, arguments, image
from scipy import ndimage

from xcoreg import simulate
from xcoreg.core.matcher import phase_match
from xcoreg.simulate import similarity, smooth_field

Array = np.ndarray
_OVER, _ROUND = 2, 48  # pixels of a scene in a pixel of an image; pixels around a window
_Q68, _Q95, _WRONG = 2.2789, 5.9915, 0.4


class Draw(NamedTuple):
    """A pair that can still be changed: target and reference (rows, cols), unit variance, larger than the window."""

    tgt: Array
    ref: Array
    truth: Array
    noise: float
    rng: np.random.Generator
    again: Callable[[Array], tuple[Array, Array]]


def draw(size: int, seed: int, kind: str, optics: float = 0.5) -> Draw:
    """Draw a scene and both its images, without noise."""
    rng = np.random.default_rng([seed, size, *kind.encode()])
    n = (size + _ROUND) * _OVER
    fx, fy = np.fft.rfftfreq(n, 1 / _OVER)[None], np.fft.fftfreq(n, 1 / _OVER)[:, None]
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    exponent, truth = rng.uniform(1.0, 1.7), rng.uniform(-1.5, 1.5, 2)
    pixel = radius**-exponent * np.sinc(fx) * np.sinc(fy)
    scene = np.fft.rfft2(rng.standard_normal((n, n)))

    def seen(spectrum: Array, move: Array, blur: float) -> Array:
        turned = np.exp(2j * np.pi * (fx * move[0] + fy * move[1]) - 2 * (np.pi * blur * radius_finite) ** 2)
        return np.fft.irfft2(spectrum * pixel * turned, s=(n, n))[::_OVER, ::_OVER]

    radius_finite = np.where(np.isfinite(radius), radius, 0)
    ref = seen(scene, np.zeros(2), 0.5)
    scale = 1 / ref.std()

    def again(move: Array) -> tuple[Array, Array]:
        """Another scene of the same make, and this one at another move."""
        other = np.fft.rfft2(rng.standard_normal((n, n)))
        return scale * seen(other, move, 0.5), scale * seen(scene, move, 0.5)

    return Draw(scale * seen(scene, truth, optics), scale * ref, truth, 10 ** -rng.uniform(1.0, 1.6), rng, again)


def _noisy(d: Draw) -> tuple[Array, Array]:
    return tuple(one + d.noise * d.rng.standard_normal(one.shape) for one in (d.tgt, d.ref))  # type: ignore[return-value]


def _clouds(share: float) -> Callable[[Draw], tuple[Array, Array]]:
    def change(d: Draw) -> tuple[Array, Array]:
        out = []
        for one in _noisy(d):
            n = len(one)
            wide, fine, texture = (
                ndimage.gaussian_filter(d.rng.standard_normal((n, n)), s, mode="wrap") for s in (n / 16, n / 50, 3)
            )
            field = wide / wide.std() + 0.4 * fine / fine.std()
            cover = np.clip((field - np.quantile(field, 1 - share)) / 0.3, 0, 1)
            out.append(one * (1 - cover) + cover * (3 + 0.5 * texture / texture.std()))
        return out[0], out[1]

    return change


def _half(d: Draw) -> tuple[Array, Array]:
    tgt, ref = _noisy(d)
    middle = len(tgt) // 2 + int(d.rng.integers(-12, 12))
    tgt[:, middle:] = d.rng.uniform(0.4, 0.7) * tgt[:, middle:] + d.rng.uniform(-1, 1)
    return tgt, ref


def _bands(d: Draw) -> tuple[Array, Array]:
    alike = d.rng.uniform(0.3, 0.5)
    other, _ = d.again(d.truth)
    return _noisy(d._replace(tgt=alike * d.tgt + np.sqrt(1 - alike**2) * other))


def _jpeg(quality: int) -> Callable[[Draw], tuple[Array, Array]]:
    def compress(one: Array) -> Array:
        from PIL import Image

        low, high = one.min(), one.max()
        file = io.BytesIO()
        Image.fromarray(np.uint8(np.rint((one - low) / (high - low) * 255))).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file), float)

    return lambda d: tuple(compress(_inner(one)) for one in _noisy(d))  # type: ignore[return-value]


def _jpeg2000(rate: float) -> Callable[[Draw], tuple[Array, Array]]:
    def compress(one: Array) -> Array:
        from rasterio.io import MemoryFile

        low, high = one.min(), one.max()
        values = np.uint16(np.rint((one - low) / (high - low) * 4000 + 100))
        shape = {"height": len(one), "width": len(one), "count": 1, "dtype": "uint16"}
        with MemoryFile() as file:
            with file.open(driver="JP2OpenJPEG", QUALITY=str(100 / rate), REVERSIBLE="NO", **shape) as out:
                out.write(values, 1)
            with file.open() as back:
                return back.read(1).astype(float)

    return lambda d: tuple(compress(_inner(one)) for one in _noisy(d))  # type: ignore[return-value]


def _quantised(counts: float) -> Callable[[Draw], tuple[Array, Array]]:
    return lambda d: tuple(np.rint(counts * one) for one in _noisy(d))  # type: ignore[return-value]


def _stripes(size: float, *, same: bool) -> Callable[[Draw], tuple[Array, Array]]:
    def change(d: Draw) -> tuple[Array, Array]:
        tgt, ref = _noisy(d)
        first = size * d.rng.standard_normal(len(ref))[None]
        return tgt + (first if same else size * d.rng.standard_normal(len(ref))[None]), ref + first

    return change


def _fixed(size: float) -> Callable[[Draw], tuple[Array, Array]]:
    def change(d: Draw) -> tuple[Array, Array]:
        tgt, ref = _noisy(d)
        pattern = size * d.rng.standard_normal(ref.shape)
        return tgt + pattern, ref + pattern

    return change


def _resampled(d: Draw) -> tuple[Array, Array]:
    """Bilinear, from a lattice that lies elsewhere. By nearest neighbours all pixels would move alike: a true shift."""
    off = d.rng.uniform(0, 1, 2)
    tgt, ref = _noisy(d._replace(tgt=d.again(d.truth - off)[1]))
    return ndimage.shift(tgt, -off[::-1], order=1, mode="grid-wrap"), ref


KINDS: dict[str, Callable[[Draw], tuple[Array, Array]]] = {
    "white noise": _noisy,
    "other optics in one image": _noisy,
    "clouds of their own on 30 %": _clouds(0.3),
    "clouds of their own on 45 %": _clouds(0.45),
    "half with another radiometry": _half,
    "bands correlated 0.3 to 0.5": _bands,
    "JPEG, quality 60": _jpeg(60),
    "JPEG, quality 30": _jpeg(30),
    "JPEG 2000 at rate 10": _jpeg2000(10),
    "JPEG 2000 at rate 30": _jpeg2000(30),
    "scene of 3 counts": _quantised(3),
    "scene of 1.2 counts": _quantised(1.2),
    "stripes 0.1, each its own": _stripes(0.1, same=False),
    "stripes 0.1, the same": _stripes(0.1, same=True),
    "stripes 0.3, each its own": _stripes(0.3, same=False),
    "stripes 0.3, the same": _stripes(0.3, same=True),
    "fixed pattern 0.05": _fixed(0.05),
    "fixed pattern 0.15": _fixed(0.15),
    "fixed pattern 0.4": _fixed(0.4),
    "resampled before, bilinear": _resampled,
}


def _inner(one: Array) -> Array:
    edge = _ROUND // 2
    return one[edge:-edge, edge:-edge]


def pair_of(kind: str, size: int, seed: int) -> tuple[Array, Array, Array]:
    """Target, reference (size, size) and the true shift of one pair."""
    rng = np.random.default_rng([seed, 1])
    drawn = draw(size, seed, kind, rng.uniform(0.9, 1.4) if "optics" in kind else 0.5)
    tgt, ref = (one if len(one) == size else _inner(one) for one in KINDS[kind](drawn))
    return tgt.astype(np.float32), ref.astype(np.float32), drawn.truth


def row_of(kind: str, error: Array, cov: Array, total: int) -> dict[str, Any]:
    """One line of a table: errors (n, 2) and covariances (n, 2, 2), px, of the accepted ones among `total`."""
    row: dict[str, Any] = {"what was done to the images": kind, "accepted %": 100 * len(error) / total}
    if not len(error):
        return row
    variance = np.diagonal(cov, axis1=1, axis2=2)
    inside = np.einsum("ni,nij,nj->n", error, np.linalg.inv(cov), error)
    row |= {"RMSE": float(np.sqrt((error**2).mean())), "sigma": float(np.sqrt(variance.mean()))}
    row |= {"chi2": float((error**2 / variance).mean())}
    row |= {f"{p} %": float((inside <= q).mean()) for p, q in ((68, _Q68), (95, _Q95))}
    return row | {f"> {_WRONG} px": int((np.hypot(*error.T) > _WRONG).sum())}


def windows(kind: str, n: int, size: int, seed: int) -> dict[str, Any]:
    """Match single windows."""
    drawn = [pair_of(kind, size, seed + i) for i in range(n)]
    tgt, ref, truth = (np.array(part) for part in zip(*drawn, strict=True))
    valid = np.ones(tgt.shape, bool)
    found = phase_match(tgt, ref, valid, valid)
    error = np.stack([found.dcol, found.drow], -1) - truth
    return row_of(kind, error[found.ok], found.cov[found.ok], n)


def images(kind: str, n: int, size: int, seed: int) -> dict[str, Any]:
    """Match whole images: several windows together."""
    errors, covs = [], []
    for i in range(n):
        tgt, ref, truth = pair_of(kind, size, seed + i)
        fit = image(tgt).coreg.match(image(ref), errors="return")
        if fit.ok:
            errors.append((fit.shift.dcol, fit.shift.drow) - truth)
            covs.append(fit.shift.cov_px)
    return row_of(kind, np.reshape(errors, (-1, 2)), np.reshape(covs, (-1, 2, 2)), n)


def fields(kind: str, n: int, size: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Match fields, windows of 64 px: the tie points of images, and what accepted fields predict all over them."""
    errors, covs, total = [], [], 0
    off, spread = [], []
    for i in range(n):
        tgt, ref, truth = pair_of(kind, size, seed + i)
        fit = image(tgt).coreg.match_local(image(ref), window=64, spacing=48, errors="return")
        ok, linear = fit.points.ok, np.linalg.inv([[10.0, 0.0], [0.0, -10.0]])
        total += len(ok)
        errors.append(np.stack([fit.points.dcol, fit.points.drow], -1)[ok] - truth)
        covs.append(linear @ fit.points.cov[ok] @ linear.T)
        if fit.ok:
            places = fit.grid.affine * tuple(np.mgrid[16:size:16, 16:size:16].reshape(2, -1))
            off.append(np.stack(fit.model.predict(*places), -1) @ linear.T - truth)
            spread.append(linear @ fit.model.predict_cov(*places) @ linear.T)
    total_places = n * len(range(16, size, 16)) ** 2
    predicted = row_of(kind, np.reshape(off, (-1, 2)), np.reshape(spread, (-1, 2, 2)), total_places)
    return row_of(kind, np.concatenate(errors), np.concatenate(covs), total), predicted


_SIDE = 800


class Fault(NamedTuple):
    """A tear through the middle, along a direction (radians), both sides of which are moved apart, px."""

    step: float
    angle: float

    def distance(self, rows: Any, cols: Any) -> Array:
        """How far pixels lie from the line, px, negative on one side."""
        across, down = np.asarray(cols) - _SIDE / 2, np.asarray(rows) - _SIDE / 2
        return across * np.cos(self.angle) + down * np.sin(self.angle)

    def __call__(self, rows: Any, cols: Any) -> tuple[Array, Array]:
        """Correction at target pixels, px."""
        side = self.step / 2 * np.sign(self.distance(rows, cols))
        return side * np.cos(1.0) + 0.3, side * np.sin(1.0) - 0.2


_SHAPE = (_SIDE, _SIDE)
DISTORTED: dict[str, Callable[[int], Any]] = {
    **{f"turned by {d} degrees": lambda _, d=d: similarity(_SHAPE, degrees=d, shift=(0.3, 0.2)) for d in (1, 2, 3)},
    **{f"larger by {s} %": lambda _, s=s: similarity(_SHAPE, scale=1 + s / 100, shift=(0.3, 0.2)) for s in (1, 2, 3)},
    **{f"field of {a} px": lambda i, a=a: smooth_field(_SHAPE, amplitude=a, turns=0.25, seed=i) for a in (5, 20, 80)},
    **{f"fault of {f} px": lambda i, f=f: Fault(f, 0.3 + 0.5 * i) for f in (1.0, 1.5, 2.5, 4.0)},
}


def distorted(kind: str, n: int, window: int, seed: int) -> dict[str, Any]:
    """Tie points of distorted images, and for faults what the model leaves far from the line."""
    errors, covs, left, total = [], [], [], 0
    for i in range(n):
        truth = DISTORTED[kind](i)
        pair = simulate.pair(_SHAPE, shift=truth, snr_db=25, seed=seed + i)
        fit = pair.tgt.coreg.match_local(pair.ref, window=window, spacing=0.75 * window, errors="return")
        points, affine = fit.points, pair.tgt.rio.transform()
        linear, ok = np.linalg.inv([[affine.a, affine.b], [affine.d, affine.e]]), points.ok
        total += len(ok)
        errors.append((np.stack([points.dcol, points.drow], -1) - np.stack(truth(points.row, points.col), -1))[ok])
        covs.append(linear @ points.cov[ok] @ linear.T)
        if fit.ok and isinstance(truth, Fault):
            rows, cols = (one.ravel() for one in np.mgrid[20 : _SIDE - 20 : 16, 20 : _SIDE - 20 : 16])
            moved = np.stack(fit.model.predict(*(affine * (cols + 0.5, rows + 0.5))), -1) @ linear.T
            off = moved - np.stack(truth(rows, cols), -1)
            left.append((off[np.abs(truth.distance(rows, cols)) > 1.5 * window] ** 2).sum(1).mean())
    row = row_of(kind, np.concatenate(errors), np.concatenate(covs), total)
    off = np.hypot(*np.concatenate(errors).T)
    row |= {"> 0.5 px": int((off > 0.5).sum()), "largest px": float(off.max(initial=0))}
    return row | ({"model, far from the line, px": float(np.sqrt(np.mean(left)))} if left else {})


def main() -> None:
    args = arguments(__doc__ or "", pairs={"type": int, "default": 100}, only={"default": ""})
    n = 10 if args.quick else args.pairs
    kinds = [kind for kind in KINDS if args.only in kind]
    report = Report("What sigma is worth")
    for size in (128, 256):
        report.table(f"Single windows of {size} px, {n} pairs", [windows(k, n, size, args.seed) for k in kinds])
    for size, few in ((128, max(n // 2, 3)), (256, max(n // 2, 3)), (384, max(n // 4, 3))):
        report.table(f"Images of {size} px, {few} pairs", [images(k, few, size, args.seed) for k in kinds])
    few = max(n // 5, 3)
    tables = zip(*(fields(k, few, 384, args.seed) for k in kinds), strict=True)
    for what, table in zip(("Tie points of 64 px in", "Fields of 64 px over"), tables, strict=True):
        report.table(f"{what} {few} images", list(table))
    few = max(n // 25, 2)
    for window in (64, 128):
        table = [distorted(kind, few, window, args.seed) for kind in DISTORTED if args.only in kind]
        report.table(f"Tie points of {window} px in {few} distorted images of {_SIDE} px", table)
    report.write(args.out)


if __name__ == "__main__":
    main()
