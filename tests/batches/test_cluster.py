"""Many scenes on the workers of a cluster, and workers that die."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from xcoreg import lazy
from xcoreg.batches.run import _explain, batch
from xcoreg.errors import OptionError
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster

distributed = pytest.importorskip("distributed")

# sockets of distributed, when its workers die
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def cluster():
    """Two workers of one thread each, in processes of their own."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as running:
        yield running


def test_workers_make_the_same_files(scenes, cluster):
    how = {"ref": scenes.ref, "verb": "warp", "window": 64, "spacing": 64}
    here = scenes.out.with_name("here")
    batch(scenes.targets, here, **how)
    found = batch(scenes.targets, scenes.out, workers=cluster.scheduler_address, **how)
    assert found.counts() == {"done": 3}
    assert scenes.files_of(scenes.out) == scenes.files_of(here)


@pytest.mark.parametrize("chunks", [None, 100])
def test_a_cluster_computes_the_same_bits(made, cluster, chunks, monkeypatch):
    monkeypatch.setattr("xcoreg.matching.windows._GROUP", 8)  # several tasks
    ref, tgt = (open_raster(made / name, chunks=chunks) for name in ("ref.tif", "a.tif"))
    how = {"window": 32, "spacing": 40}
    fit = tgt.coreg.match_local(ref, **how)
    warped = tgt.coreg.apply(fit, like=ref).values
    with distributed.Client(cluster):
        again = tgt.coreg.match_local(ref, **how)
        found = tgt.coreg.apply(again, like=ref).values
    assert again == fit
    np.testing.assert_array_equal(found, warped)


@pytest.mark.parametrize("name", ["a.nc", "a.zarr", "a.tif"])
def test_what_a_cluster_computes_is_written(made, cluster, tmp_path, name):
    pytest.importorskip({"nc": "netCDF4", "zarr": "zarr", "tif": "rasterio"}[name.rpartition(".")[2]])
    image = open_raster(made / "a.tif", chunks=100)
    large = image.pad(y=(0, 400), x=(0, 300), constant_values=9).drop_vars(["x", "y"])  # several tiles
    large = large.assign_coords(y=-10.0 * np.arange(656), x=10.0 * np.arange(556)).rio.write_transform()
    with distributed.Client(cluster):
        write_raster(large + np.uint16(1), tmp_path / name)
        np.testing.assert_array_equal(open_raster(tmp_path / name).squeeze(), large.values.squeeze() + 1)


@pytest.mark.parametrize("name", ["b.nc", "b.zarr"])
def test_pixels_in_memory_are_not_sent_to_a_cluster(made, cluster, tmp_path, name):
    pytest.importorskip({"nc": "netCDF4", "zarr": "zarr"}[name.rpartition(".")[2]])
    image = open_raster(made / "a.tif").load()
    with distributed.Client(cluster) as client:
        before = len(client.get_task_stream())
        write_raster(image, tmp_path / name)
        assert len(client.get_task_stream()) == before
    np.testing.assert_array_equal(open_raster(tmp_path / name).squeeze(), image.squeeze())


def test_persisted_images_are_used_on_the_cluster(made, cluster, monkeypatch):
    monkeypatch.setattr("xcoreg.matching.windows._GROUP", 8)
    ref, tgt = (open_raster(made / name, chunks=100) for name in ("ref.tif", "a.tif"))
    how = {"window": 32, "spacing": 40}
    fit = tgt.coreg.match_local(ref, **how)
    with distributed.Client(cluster):
        ref, tgt = ref.persist(), (tgt + 0).assign_attrs(tgt.attrs).persist()
        assert tgt.coreg.match_local(ref, **how).to_dict()["points"] == fit.to_dict()["points"]


def test_a_worker_that_is_killed_costs_nothing_but_time(scenes, cluster):
    targets = [*scenes.targets, *(scenes.folder / f"{name}{n}.tif" for name in "ab" for n in range(2))]
    for path in targets[3:]:
        path.write_bytes((scenes.folder / f"{path.stem[0]}.tif").read_bytes())
    with distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
    ended = []

    def kill_a_worker(record):
        ended.append(record["name"])
        if len(ended) == 2:
            os.kill(pids[0], signal.SIGKILL)

    found = batch(targets, scenes.out, ref=scenes.ref, workers=cluster.scheduler_address, progress=kill_a_worker)
    assert found.counts() == {"done": 7}
    assert list(scenes.out.glob(".xcoreg*")) == []
    images = [open_raster(path) for path in scenes.out.glob("a*.tif")]
    assert len({(image.values.tobytes(), image.rio.transform()) for image in images}) == 1


def test_a_scene_that_kills_its_workers_fails_alone():
    def work(item):
        return os._exit(7) if item == "deadly" else item

    results = dict(lazy.run_each(work, ["a", "deadly", "b"], workers=2))
    assert (results[0], results[2]) == ("a", "b")
    assert "the worker process died while working on this scene, twice" in str(_explain(results[1]))


def test_a_scheduler_that_cannot_be_reached_is_refused(scenes):
    with pytest.raises(OptionError, match="has its own workers"):
        batch(scenes.targets, scenes.out, ref=scenes.ref, workers="tcp://127.0.0.1:9", memory="1GB")
