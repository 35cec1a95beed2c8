"""The CI files for forks are valid YAML and name sessions and files that exist."""

import re

import pytest

yaml = pytest.importorskip("yaml")  # dask brings it along


@pytest.fixture(params=["ci", "docs", "release"])
def workflow(request, repo_dir):
    path = repo_dir / ".github" / "workflows" / f"{request.param}.yml"
    if not path.is_file():
        pytest.skip("a source distribution holds no CI files")
    return path.read_text(encoding="utf-8")


def test_it_is_yaml_with_jobs_that_have_steps(workflow):
    jobs = yaml.safe_load(workflow)["jobs"]
    assert all(job["runs-on"] and job["steps"] for job in jobs.values())


def test_sessions_it_runs_exist(workflow, repo_dir):
    nox = (repo_dir / "noxfile.py").read_text(encoding="utf-8")
    for line in re.findall(r"nox -s ([\w ]+)", workflow):
        assert all(f"def {name}(" in nox for name in line.split())
