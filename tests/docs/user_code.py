"""The Python code of README.md as one program for type checkers: `python tests/docs/user_code.py OUT.py`.

`nox -s types` checks it strictly, as the code of users who check theirs.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def program(text: str) -> str:
    """Make a function of each block of code."""
    examples: list[str] = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if "import " in block or not examples:
            examples.append(block)
        else:
            examples.append(f"import xcoreg\n\n{block}")
    bodies = (textwrap.indent(block, "    ") for block in examples)
    functions = [f"def example_{number}() -> None:\n{body}" for number, body in enumerate(bodies)]
    # A README shows names that the reader will use.
    head = "# pyright: strict, reportUnusedVariable=false\nfrom __future__ import annotations"
    return "\n\n".join([head, *functions])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(program(README.read_text(encoding="utf-8")), encoding="utf-8")
