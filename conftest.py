"""One thread per test for linear algebra; doctests in `src` whose extra is not installed are skipped.

The skip carries the message users get.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

# A module of compiled loops is collected where there is a compiler.
collect_ignore = [] if importlib.util.find_spec("numba") else ["src/xcoreg/core/compiled.py"]

# Threads of linear algebra that wait for each other on a busy machine take several times what one alone takes. They are
# counted when numpy is first imported: before that, that is here.
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# Nor are workers of clusters given up that are slow to answer.
for _step in ("CONNECT", "TCP"):
    os.environ.setdefault(f"DASK_DISTRIBUTED__COMM__TIMEOUTS__{_step}", "1800s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Turn a MissingDependency into a skip, for doctests alone: tests say themselves what they need."""
    try:
        return (yield)
    except doctest.UnexpectedException as failure:
        error = failure.exc_info[1]
        if type(error).__name__ == "MissingDependency" and isinstance(item, pytest.DoctestItem):
            pytest.skip(str(error))
        raise


def pytest_unconfigure() -> None:
    """Drop files that xarray still holds: closed while Python 3.13 ends they would write to stderr, after all."""
    manager = sys.modules.get("xarray.backends.file_manager")
    if manager is not None:
        manager.FILE_CACHE.clear()
