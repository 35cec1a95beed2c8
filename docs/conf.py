"""The documentation: Sphinx, MyST pages, notebooks run while building, the API from its docstrings.

`nox -s docs` builds it into `docs/_build/html`, warnings being errors. Notebooks and benchmark reports live
elsewhere in the repository and are mirrored into this folder before each build.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

# --- mirrors: what is written once, elsewhere -----------------------------------------------------------------------
for source, goal, pattern in (
    (ROOT / "notebooks", HERE / "notebooks", "*.ipynb"),
    (ROOT / "benchmarks" / "report", HERE / "benchmarks" / "report", "*.md"),
):
    shutil.rmtree(goal, ignore_errors=True)
    goal.mkdir(parents=True)
    for file in sorted(source.glob(pattern)):
        shutil.copy(file, goal / file.name)

# --- made of the program: every option of every command -------------------------------------------------------------
import command_line  # noqa: E402 - beside this file

command_line.write()

# --- project --------------------------------------------------------------------------------------------------------
project = "xcoreg"
author = "xcoreg developers"
copyright = "xcoreg developers. Bundled images contain modified Copernicus Sentinel data 2016"  # noqa: A001
release = importlib.metadata.version("xcoreg")
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build", "jupyter_execute", "_gallery.md", "api/_*.md"]
suppress_warnings = ["mystnb.unknown_mime_type"]

# --- pages ----------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["colon_fence", "deflist"]  # no formulas: MathJax would be fetched by the browser
myst_heading_anchors = 3
nb_execution_mode = os.environ.get("XCOREG_DOCS_NOTEBOOKS", "force")  # "off" for a quick look at the pages
nb_execution_timeout = -1  # none: a busy machine takes its time
nb_execution_raise_on_error = True
nb_merge_streams = True

# --- API ------------------------------------------------------------------------------------------------------------
default_role = "code"  # docstrings write `name` for code
autodoc_typehints = "none"  # types stand in the docstrings, with shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False

# --- looks ----------------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = f"xcoreg {release}"
html_static_path = ["_static"]
html_css_files = ["xcoreg.css"]
html_js_files = ["page.js"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
templates_path = ["_templates"]
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
PUBLIC = ".example" not in SOURCE  # no public home yet: the edit link then leads to the page on contributing
html_context = {"edit_root": f"{SOURCE}/edit/main/docs" if PUBLIC else ""}
html_theme_options = {
    "logo": {"text": "xcoreg", "alt_text": "xcoreg: home"},
    "icon_links": [{"name": "Source", "url": SOURCE, "icon": "fa-solid fa-code"}] if PUBLIC else [],
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc", "edit-page"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
}
