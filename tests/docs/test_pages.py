"""Pages that repeat what the program says: presets, options; and code that fits on a page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from xcoreg import presets

ROOT = Path(__file__).resolve().parents[2]
MADE = {"_build", "report", "decisions"}
PAGES = [path for path in sorted((ROOT / "docs").rglob("[!_]*.md")) if not MADE & set(path.relative_to(ROOT).parts)]
PAGES.append(ROOT / "README.md")
WIDTH = 88


def cells(line):
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def test_the_table_of_presets_is_the_one_of_the_program():
    text = (ROOT / "docs" / "howto" / "presets.md").read_text(encoding="utf-8")
    rows = {cells(line)[0]: line for line in text.splitlines() if line.startswith("| `")}
    assert list(rows) == list(presets.PRESETS)
    for name, preset in presets.PRESETS.items():
        _, title, window, spacing, band, mask = cells(rows[name])
        assert (title, window, spacing) == (preset.title, str(preset.window or ""), str(preset.spacing))
        assert band == ", ".join(f"{one} of {n}" for n, one in preset.bands.items())
        assert mask.replace("`", "") == preset.mask


def test_the_page_of_the_command_line_has_every_option():
    spec = importlib.util.spec_from_file_location("command_line", ROOT / "docs" / "command_line.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, command in module.commands():
        text = module.section(path, command)
        for param in command.params:
            if param.param_type_name == "option":
                assert all(flag in text for flag in param.opts), (path, param.opts)
        for example in command.examples:
            assert example in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_is_narrow_enough_for_a_page(path):
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert [line for block in blocks for line in block.splitlines() if len(line) > WIDTH] == []
