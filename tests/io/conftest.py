"""Images to write, and a small web server that answers ranges and counts what it sends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from xarray import DataArray

GRID = Affine(10, 0, 300000, 0, -10, 5900040)

# A process of its own: GDAL holds Python's lock while it opens a file.
SERVER = r"""
import http.server, itertools, os, pathlib, re, sys, urllib.parse
number = itertools.count(1)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def answer(self, body):
        third = next(number) % 3 == 0
        if third and sys.argv[2] in ("busy", "dropping"):
            os.write(1, f"dropped {self.path} 0\n".encode())
            if sys.argv[2] == "busy":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.close_connection = True
            return self.connection.shutdown(2)
        path = pathlib.Path(sys.argv[1] + urllib.parse.urlparse(self.path).path)
        data = path.read_bytes() if path.is_file() else None
        span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        part, first = data, 0
        if data is not None and span:
            first = int(span[1])
            part = data[first : int(span[2]) + 1 if span[2] else None]
        self.send_response(404 if data is None else 206 if span else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part or b"")))
        if data is not None and span:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.end_headers()
        if body and part and third and sys.argv[2] == "cutting":  # half of what was announced
            part = part[: len(part) // 2]
            os.write(1, f"cut {self.path} {len(part)}\n".encode())
            self.wfile.write(part)
            self.close_connection = True
            return self.connection.shutdown(2)
        os.write(1, f"{self.command} {self.path} {len(part or b'') if body else 0}\n".encode())  # whole lines only
        if body and part:
            self.wfile.write(part)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Server:
    """A running server: where it is and what it sent."""

    def __init__(self, folder, log, mood="whole"):
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen([sys.executable, "-u", "-c", SERVER, str(folder), mood], stdout=out)
        while not (first := log.read_text()).endswith("\n"):
            assert self.process.poll() is None
        self.url = f"http://127.0.0.1:{first.strip()}"

    def requests(self):
        whole, _, _ = self.log.read_text().rpartition("\n")  # the last line may be in the writing
        return [line.split() for line in whole.splitlines()[1:]]

    def sent(self):
        return sum(int(request[2]) for request in self.requests())


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    running = Server(folder, tmp_path / "server.log")
    running.folder = Path(folder)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture(params=["busy", "dropping", "cutting"])
def bad_server(request, tmp_path):
    """A server that fails every third request: it says so, or just hangs up, or does so halfway."""
    folder = tmp_path / "web"
    folder.mkdir()
    running = Server(folder, tmp_path / "server.log", request.param)
    running.folder = Path(folder)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture
def image():
    """Three named bands with everything an image can carry."""
    pixels = np.random.default_rng(5).integers(1, 4000, (3, 70, 90)).astype("uint16")
    pixels[:, :9, :9] = 0
    attrs = {"long_name": ("B2", "B3", "B4"), "sensor": "MSI", "scale_factor": 1e-4, "add_offset": -0.1}
    y, x = 5900040 - 10 * (np.arange(70) + 0.5), 300000 + 10 * (np.arange(90) + 0.5)
    made = DataArray(pixels, {"band": [1, 2, 3], "y": y, "x": x}, ("band", "y", "x"), attrs=attrs)
    return made.rio.write_crs("EPSG:32633").rio.write_transform(GRID).rio.write_nodata(0)
