"""Odd input of every kind: it is refused by an error of xcoreg, or works. `nox -s fuzz` tries thousands more."""

from __future__ import annotations

import os
import random
import warnings

import pytest
from fuzz_entries import ENTRIES, make_samples

from xcoreg.errors import CoregError

INPUTS = int(os.environ.get("XCOREG_FUZZ", "15"))  # of each entry
_STEP = 5  # inputs a test


@pytest.fixture(scope="module", autouse=True)
def _samples(tmp_path_factory):
    make_samples(tmp_path_factory.mktemp("samples"))


@pytest.mark.parametrize("first", range(0, INPUTS, _STEP))
@pytest.mark.parametrize("entry", ENTRIES)
def test_only_errors_of_xcoreg(entry, first, tmp_path):
    for seed in range(first, min(first + _STEP, INPUTS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ENTRIES[entry](random.Random(f"{entry}{seed}"), folder)
            except CoregError:
                continue
            except Exception as error:  # noqa: BLE001 - any other one is what is looked for
                pytest.fail(f"{entry}, seed {seed}: {type(error).__name__}: {error}")
