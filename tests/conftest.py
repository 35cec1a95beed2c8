"""Fixtures shared by all tests: where the real images are, and a quiet drawing backend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real images, $XCOREG_DATA or ../shared/data beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("XCOREG_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real test images are not at {folder}: set XCOREG_DATA to their folder")
    return folder
