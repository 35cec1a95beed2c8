"""Compiled loops give numpy's answers, bit for bit, and step back where there is no numba."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.warp import resample
from xcoreg.warp.apply import apply
from xcoreg.warp.mapping import Mapping
from xcoreg.warp.plan import Displacement

N = 300


@dataclass
class Waves:
    """A field of some pixels of 10 m."""

    dx: float
    dy: float
    kind = "waves"

    def predict(self, x, y):
        waves = np.sin((np.asarray(x) + 2 * np.asarray(y)) / 400)
        return self.dx + 25 * waves, self.dy - 8 * waves


def images():
    rng = np.random.default_rng(3)
    whole = rng.integers(2, 60000, (N, N)).astype(np.uint16)
    holes = whole * (rng.random((N, N)) > 0.02).astype(np.uint16)
    holes[100:180, 40:200] = 0
    real = whole.astype(np.float32) - 30000
    gaps = np.where(holes == 0, np.float32(np.nan), real)
    gaps[5, 7] = np.inf
    zeros = np.where(holes == 0, np.float32(-0.0), real)
    return {
        "uint16": whole, "holes": holes, "uint8": (whole // 256).astype(np.uint8), "float32": real, "gaps": gaps,
        "minus zero": zeros, "big endian": real.astype(">f4"), "columns first": np.asfortranarray(real),
        "two bands": np.stack([whole, holes]), "int16": (holes // 2).astype(np.int16),
    }  # fmt: skip


@pytest.fixture
def both_ways(make_image, make_fit, monkeypatch):
    """An image corrected by compiled loops, and by numpy."""
    pytest.importorskip("numba", exc_type=ImportError)
    from xcoreg.core import compiled

    called = []

    def counted(*args):
        called.append(args)
        return compiled.sample_lattice(*args)

    def correct(values, kernel, move, like=None):
        attrs = {"_FillValue": values.dtype.type(0)} if values.dtype.kind in "ui" else {}
        image, out = make_image(values, attrs=attrs), []
        for loops in (type("Loops", (), {"sample_lattice": staticmethod(counted)}), None):
            monkeypatch.setattr(resample, "compiled_loops", lambda _, loops=loops: loops)
            out.append(apply(image, make_fit(model=Waves(*move)), like=image, resampling=kernel).values)
        return (*out, len(called))

    return correct


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
@pytest.mark.parametrize("name", images())
def test_bits_are_those_of_numpy(both_ways, name, kernel):
    compiled, plain, calls = both_ways(images()[name], kernel, (33.0, -14.0))
    assert compiled.dtype == plain.dtype
    assert compiled.tobytes() == plain.tobytes()
    assert (calls > 0) == (name not in ("minus zero", "big endian"))


@pytest.mark.parametrize("move", [(2900.0, 0.0), (0.0, -2900.0)])
def test_nothing_is_read_outside_of_the_image(both_ways, move):
    compiled, plain, _ = both_ways(images()["float32"], "cubic", move)
    assert compiled.tobytes() == plain.tobytes()


def test_other_kernels_and_double_precision_stay_with_numpy(both_ways):
    for values, kernel in ((images()["float32"], "lanczos"), (images()["float32"].astype(float), "cubic")):
        compiled, plain, calls = both_ways(values, kernel, (33.0, -14.0))
        assert calls == 0
        assert compiled.tobytes() == plain.tobytes()


def test_without_numba_numpy_does_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "xcoreg.core.compiled", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delenv("XCOREG_FAST", raising=False)
    resample._import_once.cache_clear()
    assert resample.compiled_loops((10**4, 10**4)) is None
    resample._import_once.cache_clear()


def test_small_outputs_do_not_load_numba_and_users_may_refuse_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "xcoreg.core.compiled", raising=False)
    monkeypatch.delenv("XCOREG_FAST", raising=False)
    assert resample.compiled_loops((1000, 1000)) is None
    monkeypatch.setenv("XCOREG_FAST", "0")
    assert resample.compiled_loops((10**5, 10**5)) is None


def test_users_may_ask_for_it_whatever_the_size(monkeypatch):
    pytest.importorskip("numba", exc_type=ImportError)
    monkeypatch.setenv("XCOREG_FAST", "1")
    assert resample.compiled_loops((10, 10)).sample_lattice


def test_positions_that_are_made_otherwise_have_no_lattice():
    """Those of an orthoimage follow from heights between the nodes."""
    grid = GeoBox((64, 64), Affine(10, 0, 0, 0, -10, 640), "EPSG:32633")
    moved = Displacement(Waves(33.0, -14.0), grid.crs, grid.crs, None, 10.0)

    class Otherwise(Mapping):
        def positions(self, rows, cols):
            return super().positions(rows, cols)

    tile = slice(0, 64), slice(0, 64)
    assert Mapping(grid, grid, moved).lattice(*tile) is not None
    assert Otherwise(grid, grid, moved).lattice(*tile) is None
