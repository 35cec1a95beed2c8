"""The one part that knows dask."""

from __future__ import annotations

from xcoreg.lazy.chunkstore import Lacking, is_read
from xcoreg.lazy.execute import hollow, keeping, noting, read_windows, remember, run_tasks
from xcoreg.lazy.graph import compute_all, computing, fused, is_lazy, map_output_blocks, run_each, threads_here, token

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
