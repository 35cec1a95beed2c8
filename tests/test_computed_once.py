"""Chunks that dask computes: in one estimate each that is needed is computed once, and no other."""

from __future__ import annotations

import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from xarray import DataArray

from xcoreg.coregister import tie_points
from xcoreg.matching.points import compare_points
from xcoreg.raster.raster import make_raster
from xcoreg.simulate import dem_pair, pair, smooth_field

SLOW = pytest.mark.slow
SIZE, CHUNK = 700, 100
LOCAL = {"window": 64, "spacing": 90}
KEY = "xcoreg.keep-in-memory"


class Source:
    """Chunks of an image, which note in a file that they are computed: in any process."""

    def __init__(self, values, log):
        self.values, self.log = values, str(log)

    def __call__(self, block_info=None):
        place = block_info[None]["array-location"]
        with Path(self.log).open("ab", buffering=0) as log:
            log.write(f"{place[0][0]} {place[1][0]}\n".encode())
        return self.values[tuple(slice(*span) for span in place)]


def counted(image, log, chunk=CHUNK):
    """The same image, computed chunk by chunk."""
    values = image.data
    chunks = da.core.normalize_chunks(chunk, values.shape)
    made = da.map_blocks(Source(values, log), chunks=chunks, dtype=values.dtype, meta=values[:0, :0])
    return image.copy(data=made)


@pytest.fixture
def logs(tmp_path):
    return [tmp_path / name for name in ("target", "reference", "where")]


def times(log):
    """How often each chunk was computed."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


@pytest.fixture(scope="module")
def near():
    return pair((SIZE, SIZE), shift=smooth_field((SIZE, SIZE), 1.0, seed=1), seed=2)


@pytest.fixture(scope="module")
def far():
    return pair((SIZE, SIZE), shift=(33.4, -27.2), seed=2)


def numbers_of(fit):
    return {key: value for key, value in fit.to_dict().items() if key not in ("details",)}


LOOKS = {
    "nodata": lambda t, _: t.coreg.nodata,
    "footprint": lambda t, _: t.coreg.footprint(),
    "overlap": lambda t, r: t.coreg.overlap(r),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_who_looks_at_an_image_computes_no_chunk_twice(near, logs, look):
    ref, tgt = (image.copy() for image in (near.ref, near.tgt))
    tgt[:30, :] = 0  # nodata that is in no metadata is searched for in the corners
    tgt, ref = (counted(image.rio.write_nodata(None), log) for image, log in zip((tgt, ref), logs, strict=False))
    look(tgt, ref)
    assert set(times(logs[0]).values()) == {1}
    assert set(times(logs[1]).values()) <= {1}


VERBS = {
    "match": lambda t, r, _: numbers_of(t.coreg.match(r)),
    "match_local": lambda t, r, _: numbers_of(t.coreg.match_local(r, **LOCAL)),
    "sparse": lambda t, r, _: numbers_of(t.coreg.match_local(r, window=48, spacing=220, model="translation")),
    "tie_points": lambda t, r, _: tie_points(t, r, **LOCAL).to_dict(),
    "shift_to": lambda t, r, _: t.coreg.shift_to(r).x.values,
    "where": lambda t, r, w: numbers_of(t.coreg.match_local(r, where=w, **LOCAL)),
    "match where": lambda t, r, w: numbers_of(t.coreg.match(r, ref_where=w)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("scene", ["near", "far"])
def test_an_estimate_computes_no_chunk_twice(verb, scene, logs, request):
    both = request.getfixturevalue(scene)
    where = DataArray(np.ones((SIZE, SIZE), "uint8"), both.ref.coords, ("y", "x"))
    where[:200, :200] = 0
    images = [both.tgt, both.ref, where]
    wanted = VERBS[verb](*images)
    found = VERBS[verb](*(counted(image, log) for image, log in zip(images, logs, strict=True)))
    np.testing.assert_equal(found, wanted)
    for log in logs[: 3 if "where" in verb else 2]:
        assert set(times(log).values()) == {1}


@pytest.mark.parametrize("chunk", [256, pytest.param(512, marks=SLOW), 1000, pytest.param(2048, marks=SLOW), -1])
def test_chunks_of_computed_images_change_nothing(chunk, near, logs):
    images = [counted(image, log, chunk) for image, log in zip((near.tgt, near.ref), logs, strict=False)]
    assert VERBS["match_local"](*images, None) == VERBS["match_local"](near.tgt, near.ref, None)
    assert [set(times(log).values()) for log in logs[:2]] == [{1}] * 2


SCHEDULERS = ["synchronous", "threads", "processes", "distributed"]


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as running:
        yield running


@pytest.fixture(params=SCHEDULERS)
def computing(request):
    """A scheduler that is dask's current one."""
    if request.param == "distributed":
        cluster = request.getfixturevalue("cluster")
        with cluster.get_client():
            yield
    elif request.param == "processes":
        with ProcessPoolExecutor(2, get_context("spawn")) as pool, dask.config.set(scheduler="processes", pool=pool):
            yield
    else:
        with dask.config.set(scheduler=request.param):
            yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_whoever_computes(computing, far, logs, monkeypatch, tmp_path):
    monkeypatch.setattr("xcoreg.matching.windows._GROUP", 16)
    where = DataArray(np.ones((SIZE, SIZE), "uint8"), far.ref.coords, ("y", "x"))
    images = [far.tgt, far.ref, where]
    wanted = VERBS["where"](*images)
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        found = VERBS["where"](*(counted(image, log, 200) for image, log in zip(images, logs, strict=True)))
    np.testing.assert_equal(found, wanted)
    assert [set(times(log).values()) for log in logs] == [{1}] * 3
    assert not list(tmp_path.glob(".xcoreg-*"))


def smooth(block):
    """A focal filter, which needs a pixel around each chunk."""
    return block // 2 + np.roll(block, 1, 0) // 4 + np.roll(block, 1, 1) // 4


def focal(image):
    return image.copy(data=image.data.map_overlap(smooth, depth=1, boundary="nearest", dtype=image.dtype))


UPSTREAM = {
    "other chunks": lambda t, r: (t.chunk(x=70, y=130), r.chunk(x=300, y=90), None),
    "a focal filter": lambda t, r: (focal(t), focal(r), None),
    "a mean over all": lambda t, r: ((t - t.mean()).astype("float32"), r - r.mean() / 2, None),
    "a mask of the same": lambda t, r: (t * 1.0, r * 1.0, (t > 0) & (r > 0)),
    "bands of a cube": lambda t, r: (t + 0 * r, r + 0 * t, None),
}


@pytest.mark.parametrize("how", UPSTREAM)
def test_what_chunks_are_made_from_is_computed_once(how, near, logs, monkeypatch):
    monkeypatch.setattr("xcoreg.matching.windows._GROUP", 16)
    images = [image.assign_coords(near.ref.coords) for image in (near.tgt, near.ref)]
    in_memory = UPSTREAM[how](*(image.chunk(x=200, y=200) for image in images))
    computed = UPSTREAM[how](*(counted(image, log, 200) for image, log in zip(images, logs, strict=False)))
    found, wanted = (
        numbers_of(tgt.coreg.match_local(ref, where=where, nodata=-1, ref_nodata=-1, **LOCAL))
        for tgt, ref, where in (computed, [one if one is None else one.compute() for one in in_memory])
    )
    assert found == wanted
    assert [set(times(log).values()) for log in logs[:2]] == [{1}] * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_whoever_computes_what_chunks_are_made_from(computing, near, logs, tmp_path):
    both = [counted(image, log, 200) for image, log in zip((near.tgt, near.ref), logs, strict=False)]
    both = [(image - image.mean()).chunk(x=150, y=150).assign_attrs(image.attrs) for image in both]
    with dask.config.set({KEY: "600 kB", "temporary-directory": str(tmp_path)}):
        both[0].coreg.match(both[1], where=both[0] > -1e9, nodata=-1e9, ref_nodata=-1e9)
    assert [set(times(log).values()) for log in logs[:2]] == [{1}] * 2
    assert not list(tmp_path.glob(".xcoreg-*"))


def test_elevation_models_are_computed_once(logs, monkeypatch):
    monkeypatch.setattr("xcoreg.matching.windows._GROUP", 8)
    both = dem_pair((300, 300), seed=2)
    how = {"matcher": "nuth_kaab", "spacing": 75, "window": 75}
    wanted = both.tgt.coreg.match_local(both.ref, **how)
    found = counted(both.tgt, logs[0], 64).coreg.match_local(counted(both.ref, logs[1], 90), **how)
    assert found.points == wanted.points
    assert found.model.to_dict() == wanted.model.to_dict()
    assert [set(times(log).values()) for log in logs[:2]] == [{1}] * 2


def test_points_look_at_each_chunk_once(logs):
    gpd = pytest.importorskip("geopandas")
    both = dem_pair((300, 300), seed=2)
    rows, cols = np.random.default_rng(0).integers(5, 295, (2, 400))
    places = gpd.points_from_xy(both.ref.x[cols], both.ref.y[rows], both.ref.values[rows, cols], crs=both.ref.rio.crs)
    points = gpd.GeoDataFrame(geometry=places)
    wanted = both.tgt.coreg.match(points, matcher="nuth_kaab")
    assert counted(both.tgt, logs[0], 64).coreg.match(points, matcher="nuth_kaab") == wanted
    assert compare_points(counted(both.tgt, logs[1], 64), points).count == compare_points(both.tgt, points).count
    assert [set(times(log).values()) for log in logs[:2]] == [{1}] * 2


def test_an_image_matched_to_itself_is_computed_once(near, logs):
    image = counted(near.tgt, logs[0])
    image.coreg.match_local(image, **LOCAL)
    assert set(times(logs[0]).values()) == {1}


def test_what_memory_does_not_hold_goes_to_disk(near, logs, tmp_path, monkeypatch):
    written = []
    save = np.save
    monkeypatch.setattr(np, "save", lambda file, *args, **how: written.append(file.name) or save(file, *args, **how))
    wanted = VERBS["match_local"](near.tgt, near.ref, None)
    with dask.config.set({KEY: "300 kB", "temporary-directory": str(tmp_path)}):
        found = VERBS["match_local"](counted(near.tgt, logs[0]), counted(near.ref, logs[1]), None)
    assert found == wanted
    assert [set(times(log).values()) for log in logs[:2]] == [{1}] * 2
    assert len(written) == 98 - 15  # of 20 kB each
    assert all(name.startswith(str(tmp_path)) for name in written)
    assert not list(tmp_path.glob(".xcoreg-*"))


def test_an_error_leaves_nothing_behind(near, logs, tmp_path):
    def fail(*_):
        raise ZeroDivisionError

    images = counted(near.tgt, logs[0]), counted(near.ref, logs[1])
    with dask.config.set({KEY: 0, "temporary-directory": str(tmp_path)}), pytest.raises(ZeroDivisionError):
        images[0].coreg.match_local(images[1], matcher=fail, **LOCAL)
    assert not list(tmp_path.glob(".xcoreg-*"))


def test_a_full_disk_costs_time_alone(near, logs, tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    wanted = VERBS["match_local"](near.tgt, near.ref, None)
    with dask.config.set({KEY: "300 kB", "temporary-directory": str(tmp_path)}):
        found = VERBS["match_local"](counted(near.tgt, logs[0]), counted(near.ref, logs[1]), None)
    assert found == wanted
    assert "chunk not stored" in caplog.text


def test_what_is_stored_or_persisted_is_not_kept(near):
    image = near.tgt.chunk(x=200, y=200)
    for stored in (image, image[5:, 7:], (image + 0).persist(), (image + 0).persist()[5:, 7:]):
        assert not make_raster(stored, nodata=0).is_computed
    assert make_raster(image + 0, nodata=0).is_computed


def test_a_raster_travels_without_its_graph(near):
    image = near.tgt.chunk(x=50, y=50) + 0
    raster = make_raster(image, nodata=0)
    again = pickle.dumps(raster)
    assert len(again) < 5000
    assert pickle.loads(again).is_computed


def test_of_a_large_scene_few_chunks_are_computed_and_none_twice(near, logs):
    """A few windows: chunks that no round needs are left alone."""
    side, tile = 24 * 256, near.tgt.values[:256, :256]

    def block(block_info=None):
        with logs[0].open("ab", buffering=0) as log:
            log.write("{} {}\n".format(*block_info[None]["chunk-location"]).encode())
        return tile

    made = da.map_blocks(block, chunks=((256,) * 24,) * 2, dtype=tile.dtype, meta=tile[:0, :0])
    x, y = (10.0 * np.arange(side) for _ in range(2))
    large = DataArray(made, {"y": -y, "x": x}, ("y", "x")).rio.write_crs("EPSG:32633").rio.write_nodata(0)
    points = tie_points(large, large, spacing=2000, window=64, footprint=large.coreg.grid.extent.geom)
    assert points.ok.all()
    assert set(times(logs[0]).values()) == {1}
    assert len(times(logs[0])) < 400  # of 576, most of these to see where data end
