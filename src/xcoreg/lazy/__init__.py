"""The one part that knows dask."""

from __future__ import annotations

from xcoreg.lazy.blocks import map_output_blocks
from xcoreg.lazy.cluster import run_each, threads_here
from xcoreg.lazy.groups import run_tasks
from xcoreg.lazy.kept import hollow, keeping, noting, read_windows, remember
from xcoreg.lazy.store import Lacking
from xcoreg.lazy.tasks import compute_all, computing, fused, is_lazy, token
from xcoreg.lazy.upstream import is_read

__all__ = [
    "Lacking",
    "compute_all",
    "computing",
    "fused",
    "hollow",
    "is_lazy",
    "is_read",
    "keeping",
    "map_output_blocks",
    "noting",
    "read_windows",
    "remember",
    "run_each",
    "run_tasks",
    "threads_here",
    "token",
]
