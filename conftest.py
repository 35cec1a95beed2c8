"""Doctests in `src` may need an extra: where it is not installed they are skipped, with the message users get."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


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
