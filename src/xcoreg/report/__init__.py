"""A fit as one self-contained HTML page: text, tables and pictures, no links to anything outside of it."""

from __future__ import annotations

from xcoreg.report.write import write_report

__all__ = ["write_report"]
