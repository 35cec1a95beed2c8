"""The examples of CONTRIBUTING.md run, print what they say, and stay short; what it names exists."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def page(repo_dir):
    return (repo_dir / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks(page):
    return FENCE.findall(page)


@pytest.fixture(scope="module")
def session(blocks):
    """Namespace after all examples, and pairs of what was printed and what the page says."""
    namespace, outputs = {"__name__": "contributing"}, []
    for (language, code), (after, promised) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, "CONTRIBUTING.md", "exec"), namespace)
            outputs.append((out.getvalue(), promised if after == "text" else ""))
    return namespace, outputs


def test_every_example_prints_what_the_page_says(session):
    _, outputs = session
    assert len(outputs) == 3
    for printed, promised in outputs:
        assert printed == promised


def test_each_example_is_short(blocks):
    for language, code in blocks:
        if language == "python":
            assert len([line for line in code.splitlines() if line.strip()]) <= 32


def test_a_fit_with_a_users_matcher_tells_its_windows(session):
    namespace, _ = session
    ref, tgt = (namespace["scene"].ref, namespace["scene"].tgt)
    fit = tgt.coreg.match_local(ref, spacing=150, window=128, matcher=namespace["correlate"], model="translation")
    assert fit.points.counts()["OK"] >= 6


def test_modules_of_the_layout_exist(page, repo_dir):
    layout = next(code for language, code in FENCE.findall(page) if language == "text" and "src/xcoreg/" in code)
    source = repo_dir / "src" / "xcoreg"
    named = re.findall(r"(?<![\w/])([a-z]+)(/|\.py)", layout.partition("\n")[2])
    for name, kind in named:
        path = source / f"{name}{'' if kind == '/' else kind}"
        assert path.exists() or (source / "core" / name).exists(), name


def test_sessions_that_are_named_exist(page, repo_dir):
    nox = (repo_dir / "noxfile.py").read_text(encoding="utf-8")
    for line in re.findall(r"`nox -s ([\w. -]+?)(?: -- .*)?`", page):
        for name in line.split():
            assert f"def {name.partition('-')[0]}(" in nox, name
