"""The dask border: one computation, exact windows, deterministic names."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest
from xarray import DataArray

from xcoreg.lazy import (
    compute_all,
    computing,
    is_lazy,
    map_output_blocks,
    read_windows,
    register,
    run_each,
    run_tasks,
    shared_chunks,
    token,
)
from xcoreg.lazy.chunkstore import ChunkStore


class Counter:
    """A scheduler that counts how often it is asked."""

    def __init__(self):
        self.n = 0

    def __call__(self, graph, keys, **kwargs):
        self.n += 1
        return dask.get(graph, keys, **kwargs)


@dataclass(frozen=True)
class Mirror:
    """Mirrors columns; its windows are whole columns on the other side."""

    size: int

    def box(self, rows, cols):
        return (rows.start, rows.stop, self.size - cols.stop, self.size - cols.start)

    def __call__(self, window, box, rows, cols):
        assert window.shape[-2:] == (box[1] - box[0], box[3] - box[2])
        return window[..., ::-1]


def mirrored(source, size=20):
    mirror = Mirror(size)
    return map_output_blocks(mirror, source, ((6, 4), (8, 8, 4)), mirror.box, source.dtype)


@pytest.mark.parametrize(
    ("data", "lazy"),
    [(da.zeros(3), True), (DataArray(da.zeros(3)), True), (np.zeros(3), False), (DataArray(np.zeros(3)), False),
     (3.0, False)],
)  # fmt: skip
def test_is_lazy(data, lazy):
    assert is_lazy(data) is lazy


def test_several_arrays_cost_one_computation():
    source = da.arange(100, chunks=10)
    with dask.config.set(scheduler=(counter := Counter())):
        out = compute_all([source[:3], np.ones(2), DataArray(source[50:52])])
    assert counter.n == 1
    assert [part.tolist() for part in out] == [[0, 1, 2], [1.0, 1.0], [50, 51]]


def test_arrays_in_memory_cost_none():
    with dask.config.set(scheduler=(counter := Counter())):
        out = compute_all([np.ones(2), DataArray(np.zeros(1))])
    assert counter.n == 0
    assert [type(part) for part in out] == [np.ndarray, np.ndarray]


@pytest.mark.parametrize("chunks", [(10, 20), (3, 7), (10, 1)])
def test_windows_are_put_together_across_chunks(chunks):
    values = np.arange(200).reshape(10, 20)
    out = mirrored(da.from_array(values, chunks=chunks))
    assert out.chunks == ((6, 4), (8, 8, 4))
    assert np.array_equal(out.compute(), values[:, ::-1])


def test_leading_axes_keep_their_chunks():
    values = np.arange(1200).reshape(3, 2, 10, 20)
    out = mirrored(da.from_array(values, chunks=(2, 1, 4, 20)))
    assert out.chunks == ((2, 1), (1, 1), (6, 4), (8, 8, 4))
    assert np.array_equal(out.compute(), values[..., ::-1])


def test_building_computes_nothing():
    with dask.config.set(scheduler=(counter := Counter())):
        mirrored(da.ones((10, 20), chunks=5))
    assert counter.n == 0


def test_a_block_touches_only_the_chunks_it_needs():
    seen = []

    def watch(block, block_id=None):
        seen.append(block_id)
        return block

    source = da.map_blocks(watch, da.ones((10, 20), chunks=5), dtype=float, meta=np.empty((0, 0)))
    mirrored(source).blocks[0, 0].compute(scheduler="sync")
    assert sorted(seen) == [(0, 2), (0, 3), (1, 2), (1, 3)]


def test_an_empty_window_is_allowed():
    def blank(window, box, rows, cols):
        assert window.shape == (2, 0, 0)
        return np.full((2, 3, 3), 7.0)

    source = da.zeros((2, 5, 5), chunks=(2, 5, 5))
    out = map_output_blocks(blank, source, ((3,), (3,)), lambda rows, cols: (0, 0, 0, 0), float)
    assert (out.compute() == 7.0).all()


def test_names_follow_from_the_inputs():
    source = da.ones((10, 20), chunks=5)
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        first, second = mirrored(source), mirrored(source)
    assert first.name == second.name
    assert set(first.dask) == set(second.dask)
    assert mirrored(source + 1).name != first.name


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_schedulers_agree(scheduler):
    values = np.random.default_rng(0).normal(size=(10, 20))
    out = mirrored(da.from_array(values, chunks=3)).compute(scheduler=scheduler)
    assert np.array_equal(out, values[:, ::-1])


def test_images_in_dataclasses_are_not_loaded():
    looked = []
    image = da.from_array(np.zeros(8), chunks=2).map_blocks(
        lambda b: looked.append(1) or b, dtype=float, meta=np.empty(0)
    )

    @dataclass(frozen=True)
    class Job:
        image: object

    done = run_tasks(lambda job, item: (is_lazy(job.image), item), Job(DataArray(image)), [1, 2, 3])
    assert done == [(True, 1), (True, 2), (True, 3)]
    assert looked == []


def test_a_choice_of_scheduler_ends_with_its_block():
    source, counter = da.arange(4, chunks=2), Counter()
    with computing(scheduler=counter):
        compute_all([source])
    compute_all([source])
    assert counter.n == 1


def test_tokens_tell_values_apart():
    assert token({"a": 1}) == token({"a": 1}) != token({"a": 2})


def test_one_failure_does_not_end_the_others():
    (_, first), (_, second) = run_each(lambda item: 1 / item, [0, 2])
    assert isinstance(first, ZeroDivisionError)
    assert second == 0.5


@pytest.mark.parametrize("chunks", [(10, 20), (3, 7), (1, 4)])
@pytest.mark.parametrize("step", [(1, 1), (3, 2), (7, 25)])
def test_windows_of_computed_images_are_those_of_the_values(chunks, step):
    values = np.arange(200).reshape(10, 20)
    source = da.from_array(values, chunks=chunks) + 0
    boxes = [(0, 10, 0, 20), (2, 9, 3, 8), (5, 6, 19, 20), (4, 4, 0, 3), (9, 10, 0, 20)]
    with shared_chunks():
        for found in (read_windows(source, boxes, step), read_windows(source, boxes, step)):
            for window, (r0, r1, c0, c1) in zip(found, boxes, strict=True):
                np.testing.assert_array_equal(window, values[r0 : r1 : step[0], c0 : c1 : step[1]])


def noted(seen, chunk=5):
    """Ones whose chunks note where they are computed."""

    def watch(block, block_id=None):
        seen.append(block_id)
        return block

    return da.map_blocks(watch, da.ones((10, 20), chunks=chunk), dtype=float, meta=np.empty((0, 0)))


def total(array, box):
    return float(read_windows(array, [box])[0].sum())


def test_a_task_that_lacks_chunks_is_run_again_with_them():
    seen, ended = [], []
    boxes = [(0, 2, 0, 2), (0, 2, 0, 20), (0, 10, 0, 20), (0, 1, 18, 20)]
    source = noted(seen)
    with shared_chunks():
        register(source)
        found = run_tasks(total, source, boxes, ended.append, [[(source, [(0, 1, 0, 1)])]] * 4)
    assert found == [4, 40, 200, 2]
    assert len(seen) == len(set(seen)) == 8
    assert sum(ended) == 4


def test_chunks_that_nobody_asks_for_are_left_alone():
    seen = []
    source = noted(seen)
    assert run_tasks(total, source, [(0, 2, 0, 2), (0, 2, 0, 6)], ahead=[[(source, [(0, 2, 0, 6)])]] * 2) == [4, 12]
    assert sorted(seen) == [(0, 0), (0, 1)]


def test_stores_within_stores_are_one_and_end_with_the_outermost():
    seen = []
    source = noted(seen)
    with shared_chunks():
        for _ in range(2):
            with shared_chunks():
                read_windows(source, [(0, 1, 0, 1)])
    read_windows(source, [(0, 1, 0, 1)])
    assert seen == [(0, 0)] * 2


def test_parts_of_larger_arrays_are_kept_without_the_rest():
    kept, whole = ChunkStore(10**9), np.zeros((100, 100))
    assert kept.put(("a", 0, 0), whole[:10, :10]).open().base is None
    assert kept.put(("b", 0, 0), whole).open() is whole


def test_what_travels_keeps_in_files_that_all_can_read(tmp_path):
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        kept = ChunkStore(10**9)
        away = pickle.loads(pickle.dumps(kept))
    key = ("a/b c", 1, 2)
    away.put(key, np.arange(6).reshape(2, 3))
    chunk = pickle.loads(pickle.dumps(kept.get(key)))
    assert chunk.open().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert kept.get(("a/b c", 2, 1)) is None
    kept.close()
    assert not list(tmp_path.iterdir())


def test_without_a_folder_chunks_are_handed_on(tmp_path, caplog):
    with dask.config.set({"temporary-directory": str(tmp_path / "missing")}):
        kept = ChunkStore(0)
        assert kept.put(("a", 0, 0), np.ones((1, 1))).open().tolist() == [[1.0]]
    assert kept.get(("a", 0, 0)) is None
    assert "no folder for chunks" in caplog.text


def test_computing_loads_no_distributed_where_nobody_has():
    script = (
        "import sys, dask.array as da; from xcoreg.lazy import compute_all; compute_all([da.ones((4, 4), chunks=2)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; print('distributed' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_a_scheduler_named_in_the_configuration_is_the_one_that_computes():
    used = []

    def get(graph, keys, **options):
        used.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=get):
        assert compute_all([da.ones((4, 4), chunks=2)])[0].sum() == 16
    assert used
