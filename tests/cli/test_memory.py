import subprocess
import sys

import pytest

LOOP = """
import resource
import numpy as np
from xcoreg.cli import configure_memory
{call}
first = 0
for i in range(40):
    parts = [np.ones(1 << 20, np.float32) for _ in range(30)]
    del parts
    first = first or resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - first)
"""


def faults(call: str) -> int:
    """Pages fetched anew by a loop that frees all it has and asks for as much again."""
    code = LOOP.format(call=call)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="configures the C library of Linux")
def test_memory_is_reused_between_windows():
    reused = faults("import sys; sys.exit('not configured') if not configure_memory() else None")
    assert reused < 0.2 * faults("")


def test_what_gdal_holds_is_limited_unless_it_was_set(monkeypatch):
    from xcoreg.cli import configure_memory

    monkeypatch.setattr("ctypes.CDLL", lambda name: None)  # this process is not to be changed
    monkeypatch.setenv("GDAL_CACHEMAX", "200")
    assert not configure_memory()
    monkeypatch.delenv("GDAL_CACHEMAX")
    configure_memory()
    import os

    assert os.environ["GDAL_CACHEMAX"] == "64"
