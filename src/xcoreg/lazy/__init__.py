"""The one part that knows dask."""

from __future__ import annotations

from xcoreg.lazy.blocks import map_output_blocks
from xcoreg.lazy.cluster import run_each, threads_here
from xcoreg.lazy.tasks import compute_all, computing, everywhere, fused, is_lazy, run_tasks, token

__all__ = [
    "compute_all",
    "computing",
    "everywhere",
    "fused",
    "is_lazy",
    "map_output_blocks",
    "run_each",
    "run_tasks",
    "threads_here",
    "token",
]
