"""Faults: programs that get signals at random moments, and servers that fail.

`python benchmarks/faults.py --signals 100 --out benchmarks/report/faults.md`. Programs are forks of
one that has imported xcoreg, so that moments are those of the work. Counted is what is left: a finished output that
differs from that of an uninterrupted run, an unfinished one under the name of an output, folders that the next run does
not clear away, tracebacks.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import xcoreg
import xcoreg.cli
from xcoreg.errors import CoregError
from xcoreg.simulate import pair

SIZE = 700
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
HEAD = "| program | signals | ended before | output complete | output absent | wrong or unfinished | left behind "
HEAD += "| cleared by the next run | messages not one line |\n|---|---|---|---|---|---|---|---|---|\n"


def make_inputs(folder: Path) -> dict[str, list[str]]:
    """Files of a pair and three dates, and the command lines whose last path is the output."""
    both = pair((SIZE, SIZE), shift=(1.3, -0.8), seed=7)
    ref, tgt = (str(xcoreg.write_raster(getattr(both, name), folder / f"{name}.tif")) for name in ("ref", "tgt"))
    dates = []
    for n in range(3):
        image = pair((300, 300), shift=(0.5 * n, 0.3 * n), seed=5).tgt
        dates.append(str(xcoreg.write_raster(image, folder / f"2024-01-0{n + 1}.tif")))
    fit = str(folder / "fit.json")
    both.tgt.coreg.match(both.ref).save(fit)
    apply = ["apply", fit, tgt]
    return {
        "shift": ["shift", ref, tgt, "o.tif", "--overwrite"],
        "warp": ["warp", ref, tgt, "o.tif", "--overwrite"],
        "GeoTIFF, resampled": [*apply, "o.tif", "--align-grid", "--overwrite"],
        "COG": [*apply, "o.tif", "--align-grid", "--driver", "COG", "--overwrite"],
        "Zarr": [*apply, "o.zarr", "--align-grid", "--overwrite"],
        "NetCDF": [*apply, "o.nc", "--align-grid", "--overwrite"],
        "batch": ["batch", *dates, "--ref", dates[0], "--out", "out", "--align-grid"],
        "stack": ["stack", *dates, "--out", "out", "--overwrite"],
    }


def start(line: list[str], folder: Path, log: Path) -> int:
    """Run a command line in a fork; return its process."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.chdir(folder)
        xcoreg.cli.cli.main(line, standalone_mode=True)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def pixels_of(folder: Path) -> dict[str, str]:
    """Digests of the pixels of all images, and of the bytes of all fits, under names of outputs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".xcoreg" in name or any(one.suffix == ".zarr" for one in path.parents):
            continue
        if path.suffix in (".tif", ".nc", ".zarr"):
            image = xcoreg.open_raster(path)
            found[name] = hashlib.sha256(image.values.tobytes() + repr(image.rio.transform()).encode()).hexdigest()
        elif path.name.endswith(".fit.json"):
            found[name] = repr(xcoreg.load_fit(path))
        elif path.name == "stack.json":
            found[name] = xcoreg.load_stack(path).id
    return found


@dataclass
class Count:
    """What signals did to one program."""

    signals: int = 0
    ended: int = 0
    complete: int = 0
    absent: int = 0
    wrong: int = 0
    left: int = 0
    cleared: int = 0
    talk: int = 0


def _one_signal(
    line: list[str], folder: Path, wanted: dict[str, str], seconds: float, number: int, count: Count
) -> None:
    folder.mkdir()
    log = folder.with_suffix(".log")
    process = start(line, folder, log)
    time.sleep(seconds)
    os.kill(process, number)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    said = log.read_text(errors="replace")
    count.signals += 1
    count.ended += code == 0
    try:
        found = pixels_of(folder)
    except CoregError as error:
        found = {str(error): "unfinished"}
    count.wrong += any(wanted.get(name) != digest for name, digest in found.items())
    count.complete += bool(found)
    count.absent += not found
    left = [path for path in folder.rglob(".xcoreg-*") if path.is_dir()]
    count.left += bool(left)
    begun = code not in (0, -signal.SIGTERM) and number != signal.SIGKILL and said.strip() != "Aborted!"
    if "Traceback" in said or (begun and said.count("interrupted") != 1):
        count.talk += 1
        print(f"{line[0]} {signal.Signals(number).name} after {seconds:.2f} s: {said[-600:]}", flush=True)
    os.waitpid(start(line, folder, log), 0)
    after = pixels_of(folder)
    if after != wanted:
        count.wrong += 1
        print(f"{line[0]}: the next run makes {sorted(after)}: {log.read_text(errors='replace')[-300:]}", flush=True)
    count.cleared += bool(left) and not any(path.exists() for path in left)


def try_signals(name: str, line: list[str], folder: Path, signals: int, rng: random.Random) -> str:
    """Send signals to one program at random moments; return a row of the table."""
    first = folder / f"{name} whole"
    first.mkdir()
    began = time.monotonic()
    code = os.waitpid(start(line, first, folder / "whole.log"), 0)[1]
    took, wanted = time.monotonic() - began, pixels_of(first)
    if code or not wanted:
        raise SystemExit(f"{line}: {(folder / 'whole.log').read_text()}")
    count = Count()
    for n in range(signals):
        place = folder / f"{name} {n}"
        _one_signal(line, place, wanted, rng.uniform(0, took), SIGNALS[n % len(SIGNALS)], count)
        shutil.rmtree(place)
    cells = (
        count.signals,
        count.ended,
        count.complete,
        count.absent,
        count.wrong,
        count.left,
        count.cleared,
        count.talk,
    )
    return f"| {name} | " + " | ".join(map(str, cells)) + " |\n"


class _Server(BaseHTTPRequestHandler):
    """Answer as the folder of the address says."""

    data = b""

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(False)

    def do_GET(self) -> None:
        """Answer with the bytes asked for, or what goes wrong with them."""
        self._answer(True)

    def _answer(self, body: bool) -> None:
        kind = self.path.split("/")[1]
        codes = {"404": 404, "401": 401, "403": 403, "500": 500}
        if kind in codes or kind in ("redirect", "loop"):
            self.send_response(codes.get(kind, 302))
            if kind in ("redirect", "loop"):
                self.send_header("Location", f"/{'good' if kind == 'redirect' else 'loop'}/a.tif")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = 0, len(self.data)
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else end, end)
        part = self.data[start:end]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(self.data)}")
        self.end_headers()
        if body:
            self._send(kind, part, start)

    def _send(self, kind: str, part: bytes, start: int) -> None:
        if kind in ("truncated", "dropped"):  # all that lies beyond the header
            part = part[: len(part) // 2] if start or kind == "truncated" else part[:1000]
        with contextlib.suppress(ConnectionError):
            if kind == "silent":
                time.sleep(60)
            elif kind == "slow":
                for at in range(0, len(part), 8192):
                    self.wfile.write(part[at : at + 8192])
                    time.sleep(0.01)
            else:
                self.wfile.write(part)
        self.close_connection = True


@contextlib.contextmanager
def server(data: bytes) -> Iterator[str]:
    """Serve on this machine; yield the address."""
    _Server.data = data
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as one:
        Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://user:secret@127.0.0.1:{one.server_port}"
        one.shutdown()


def try_servers(folder: Path) -> str:
    """Read an image from servers that fail in every way; return rows of a table."""
    both = pair((SIZE, SIZE), shift=(1.3, -0.8), seed=7)
    data = xcoreg.write_raster(both.tgt, folder / "web.tif").read_bytes()
    rows = "| server | outcome | seconds | names the address | shows the password |\n|---|---|---|---|---|\n"
    kinds = ("good", "slow", "redirect", "loop", "404", "401", "403", "500", "truncated", "dropped", "silent")
    with server(data) as address:
        for kind in kinds:
            began = time.monotonic()
            try:
                image = xcoreg.open_raster(f"{address}/{kind}/a.tif")
                same = bool((image.values == both.tgt.values).all())
                said = "the image" if same else "WRONG PIXELS"
            except CoregError as error:
                said = f"{type(error).__name__}: {error}"
            except Exception as error:  # noqa: BLE001 - what is searched for
                said = f"BROKEN {type(error).__name__}: {error}"
            seconds = time.monotonic() - began
            short = said.replace("\n", " ").replace("|", "/")[:110]
            rows += f"| {kind} | {short} | {seconds:.1f} | {'127.0.0.1' in said} | {'secret' in said} |\n"
            print(rows.splitlines()[-1], flush=True)
    return rows


def main() -> None:
    """Try all faults, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=100, help="for each program")
    parser.add_argument("--program", action="append")
    parser.add_argument("--no-servers", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as text:
        folder, rng, rows = Path(text), random.Random(3), ""
        for name, line in make_inputs(folder).items():
            if not given.program or name in given.program:
                rows += try_signals(name, line, folder, given.signals, rng)
                print(rows.splitlines()[-1], flush=True)
        found = HEAD + rows + ("" if given.no_servers else "\n" + try_servers(folder))
    if given.out:
        given.out.write_text(f"# Faults\n\n{found}", encoding="utf-8")


if __name__ == "__main__":
    main()
