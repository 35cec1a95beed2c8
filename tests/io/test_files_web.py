"""Answers of web servers that were cut off."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from xcoreg.errors import OptionError
from xcoreg.files import clear_cached, gdal_path, retry
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("xcoreg.files.DELAY", 0.001)


def test_gdal_keeps_what_was_cut_off_until_it_is_told_to_forget(server, image):
    """The server hands out the first half of the file, then the whole: GDAL does not look again by itself."""
    write_raster(image, server.folder / "whole.tif", compress="none")
    whole = (server.folder / "whole.tif").read_bytes()
    (server.folder / "a.tif").write_bytes(whole[: len(whole) // 2])
    path = gdal_path(f"{server.url}/a.tif")

    def read():
        with rasterio.open(path) as file:
            return file.read()

    with pytest.raises(RasterioIOError):
        read()
    (server.folder / "a.tif").write_bytes(whole)
    with pytest.raises(RasterioIOError):
        read()
    clear_cached(path)
    np.testing.assert_array_equal(read(), image)


def test_a_patient_image_travels(server, image):
    write_raster(image, server.folder / "a.tif")
    read = pickle.loads(pickle.dumps(open_raster(f"{server.url}/a.tif")))
    np.testing.assert_array_equal(read, image)


def test_a_job_is_tried_three_times_unless_the_answer_is_final(monkeypatch):
    monkeypatch.setattr("xcoreg.files.clear_cached", lambda path: None)
    said, asked = iter(["cut", "HTTP response code: 404", "a", "b", "c", "d"]), []

    def job():
        asked.append(next(said))
        raise RasterioIOError(asked[-1])

    for path, last, n in (("s3://a/b.tif", "404", 2), ("local.tif", "a", 3), ("/vsicurl/b.tif", "d", 6)):
        with pytest.raises(RasterioIOError, match=last):
            retry(job, path)
        assert len(asked) == n


def test_threads_read_side_by_side_and_try_again_one_at_a_time(monkeypatch):
    monkeypatch.setattr("xcoreg.files.clear_cached", lambda path: None)
    together, alone, failed = threading.Barrier(4, timeout=300), threading.Lock(), set()

    def job():
        me = threading.get_ident()
        if me not in failed:
            failed.add(me)
            together.wait()  # breaks unless all threads are here at the same time
            raise RasterioIOError("cut")
        assert alone.acquire(blocking=False)
        time.sleep(0.01)
        alone.release()
        return "pixels"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: retry(job, "/vsicurl/b.tif"), range(4))) == ["pixels"] * 4


def test_a_server_that_sends_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("xcoreg.files.SILENCE", 1)
    monkeypatch.setattr("xcoreg.files._PATIENCE", 0)
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=_accept, args=(silent, asked), daemon=True).start()
        with pytest.raises(OptionError, match=r"a\.tif cannot be opened: .* too slow"):
            open_raster(f"http://127.0.0.1:{silent.getsockname()[1]}/a.tif")
    assert 1 <= len(asked) <= 2  # GDAL 3.12 asks twice


def _accept(silent, asked):
    """Take connections, and send nothing."""
    with contextlib.suppress(OSError):  # the test has ended
        while True:
            asked.append(silent.accept())
