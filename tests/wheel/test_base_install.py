"""The base install is enough for the main job, and what needs an extra says which."""

import subprocess
import sys
import tomllib
from pathlib import Path

SCRIPT = Path(__file__).with_name("base_install.py")


def test_without_any_extra_the_main_job_is_done_and_the_rest_says_what_it_needs(tmp_path):
    ran = subprocess.run([sys.executable, SCRIPT, "--hide"], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("base install: done")


def test_the_script_knows_every_extra(repo_dir):
    extras = tomllib.loads((repo_dir / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {name: SCRIPT.read_text() for name in extras if name not in ("all", "test", "bench", "dev", "docs")}
    assert all(f'"{name}": (' in text for name, text in known.items()), sorted(known)


def test_what_is_bundled_is_small(repo_dir):
    """The wheel has to stay below 4 MB: it compresses, so what is not compressed yet counts most."""
    files = [
        path for path in (repo_dir / "src" / "xcoreg").rglob("*") if path.is_file() and "__pycache__" not in str(path)
    ]
    assert sum(path.stat().st_size for path in files) < 6e6
