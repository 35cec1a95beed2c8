"""The README is true: its example prints what it says, its commands are those the CI runs."""

import pathlib
import re
import subprocess
import sys

import pytest

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def readme(repo_dir):
    return (repo_dir / "README.md").read_text(encoding="utf-8")


def examples():
    """Every Python block that is followed by what it prints."""
    text = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n((?:(?!```).)*)```\n\n```text\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow  # tests/docs/test_blocks.py runs them as well, one after another in one process
@pytest.mark.parametrize(("code", "promised"), examples(), ids=range(len(examples())))
def test_the_examples_print_what_the_readme_says(code, promised):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    printed = run.stdout
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", promised)
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(promised), strict=True)
    for found, said in pairs:  # one and a half units of the last digit
        decimals = len(said.partition(".")[2])
        assert float(found) == pytest.approx(float(said), abs=1.5 * 10.0**-decimals if decimals else 0, rel=5e-4)


def test_there_are_examples():
    assert len(examples()) >= 2


def test_the_first_two_commands_are_one_line_each(readme):
    commands = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)[:2]
    assert [command.count("\n") for command in commands] == [1, 1]
    assert commands[0].endswith("/xcoreg demo\n")
    assert commands[1].endswith(" -m pytest -n 2\n")


def test_every_command_of_the_readme_exists(readme):
    from xcoreg.cli import COMMANDS

    named = set(re.findall(r"^xcoreg (\w+)", readme, re.MULTILINE))
    assert named == set(COMMANDS)


def test_every_extra_of_the_readme_exists(repo_dir, readme):
    import tomllib

    extras = tomllib.loads((repo_dir / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"\[(\w+)\]\"?`", readme)) | {"plot", "test"} <= set(extras)
