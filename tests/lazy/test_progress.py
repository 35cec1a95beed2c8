"""Progress in pipes: a line every tenth of the work, none for quick work."""

from __future__ import annotations

import io

from xcoreg import lazy
from xcoreg.lazy import execute


def lines(monkeypatch, total, quiet=0.0):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(execute, "_QUIET", quiet)
    with lazy.progress_bar(total, "matching", "window", True) as bar:
        for _ in range(total):
            bar.update()
    return stream.getvalue().splitlines()


def test_ten_lines_for_any_amount_of_work(monkeypatch):
    found = lines(monkeypatch, 500)
    assert [line.split(" %")[0].split()[-1] for line in found] == [str(n) for n in range(10, 101, 10)]
    assert found[2].startswith("matching   30 % of 500 windows after ")


def test_little_work_has_a_line_for_each_part(monkeypatch):
    assert len(lines(monkeypatch, 3)) == 3


def test_quick_work_prints_nothing(monkeypatch):
    assert lines(monkeypatch, 500, quiet=60.0) == []


def test_nothing_is_printed_unless_asked_for(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with lazy.progress_bar(10, "matching", "window", False) as bar:
        bar.update(10)
    assert stream.getvalue() == ""
