"""The measures of the source tree: files, lines, docstrings, imports and cycles.

`python benchmarks/house.py` prints them, `--list` names every late import. `tests/test_house.py` holds them to budgets.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import sys
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src" / "xcoreg"
Graph = dict[str, set[str]]

# Methods that hand a result to a layer above because users look for them there, by late imports.
STAIRS = {("results", "plot"), ("results", "report"), ("results", "warp")}


@dataclass(frozen=True)
class Import:
    """One imported module, by its full dotted name, and where the statement stands."""

    name: str
    line: int
    late: bool
    typing: bool = False

    @property
    def package(self) -> str | None:
        """The part of xcoreg that is meant ("core", "warp", ...), or None for other libraries."""
        parts = self.name.split(".")
        if parts[0] != "xcoreg":
            return None
        return parts[1] if len(parts) > 1 else "__init__"


@dataclass
class Source:
    """A file with its lines by kind."""

    path: Path
    name: str
    lines: int
    code: set[int]
    docs: set[int]
    plumbing: set[int]
    imports: list[Import] = field(default_factory=list)


def package_of(name: str) -> str:
    """Part of xcoreg that a module belongs to: "core" of xcoreg.core.phase, "__init__" of xcoreg itself."""
    return name.split(".")[1] if "." in name else "__init__"


def code_lines(text: str) -> set[int]:
    """Numbers of the lines that hold code or docstrings: no blank line, no comment."""
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {line for token in tokens if token.type not in skip for line in range(token.start[0], token.end[0] + 1)}


def lines_of(node: ast.AST) -> set[int]:
    """Numbers of the lines of a node."""
    first = getattr(node, "lineno", 0)
    return set(range(first, (getattr(node, "end_lineno", None) or first) + 1))


def docstring_lines(tree: ast.AST) -> set[int]:
    """Numbers of the lines that docstrings take."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return {line for node in nodes if ast.get_docstring(node, clean=False) for line in lines_of(node.body[0])}


def is_typing(node: ast.AST) -> bool:
    """Whether a node is an `if TYPE_CHECKING:` block."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def plumbing_lines(tree: ast.Module) -> set[int]:
    """Numbers of the lines of imports, late ones included, of `if TYPE_CHECKING:` blocks and of `__all__`."""
    found = {line for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for line in lines_of(n)}
    for node in tree.body:
        named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if is_typing(node) or (named and node.targets[0].id == "__all__"):
            found |= lines_of(node)
    return found


def names_of(node: ast.AST, package: list[str]) -> list[str]:
    """Dotted names a node imports: statements, and import_module / require with a literal name."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        return [f"{module}.{alias.name}" if module.startswith("xcoreg") else module for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in {"import_module", "require", "__import__"} and isinstance(node.args[0].value, str):
            return [node.args[0].value]
    return []


def imports_of(text: str, package: list[str]) -> list[Import]:
    """List every import of a file, late ones and those of annotations too."""
    found = []

    def visit(node: ast.AST, late: bool, typing: bool) -> None:
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = typing or is_typing(node)
        line = getattr(node, "lineno", 0)
        found.extend(Import(name, line, late, typing) for name in names_of(node, package))
        for child in ast.iter_child_nodes(node):
            visit(child, late, typing)

    visit(ast.parse(text), late=False, typing=False)
    return found


def read(path: Path, root: Path = SRC) -> Source:
    """Measure a file."""
    text, parts = path.read_text(encoding="utf-8"), path.relative_to(root).with_suffix("").parts
    tree = ast.parse(text)
    docs, imports = docstring_lines(tree), imports_of(text, ["xcoreg", *parts[:-1]])
    code = code_lines(text) - docs
    name = ".".join(["xcoreg", *parts]).removesuffix(".__init__")
    return Source(path, name, len(text.splitlines()), code, docs, plumbing_lines(tree) & code, imports)


def function_lengths(source: Source) -> list[tuple[str, int]]:
    """Every function with its lines of code: no docstring, comment or blank line."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [n for n in ast.walk(ast.parse(source.path.read_text(encoding="utf-8"))) if isinstance(n, kinds)]
    return [(node.name, len(lines_of(node) & source.code)) for node in nodes]


def names_given(path: Path) -> list[tuple[int, str]]:
    """Names that a file gives: of itself, its classes, functions and their parameters, with their lines."""
    found = [(1, path.stem)]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.arg):
            found.append((node.lineno, node.arg))
    return found


def late_statements(path: Path) -> list[int]:
    """Lines of the import statements inside functions."""
    functions = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)]
    late = {n.lineno for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)}
    return sorted(late)


def module_graph(sources: list[Source], *, late: bool = False, typing: bool = False) -> Graph:
    """Which module imports which; a name imported from a package means the module that it is, if it is one."""
    known = {source.name for source in sources}
    graph: Graph = {source.name: set() for source in sources}
    for source in sources:
        for one in source.imports:
            if (one.late and not late) or (one.typing and not typing):
                continue
            name = one.name if one.name in known else one.name.rpartition(".")[0]
            if name in known and name not in (source.name, "xcoreg"):  # which imports names when they are asked for
                graph[source.name].add(name)
    return graph


def package_graph(sources: list[Source], stairs: set[tuple[str, str]]) -> Graph:
    """Which package imports which, late imports included but for the stairs.

    `import xcoreg` imports nothing: its names are imported when they are asked for.
    """
    graph: Graph = {package_of(source.name): set() for source in sources}
    for source in sources:
        package = package_of(source.name)
        for one in source.imports:
            other = one.package
            stair = one.late and (package, other) in stairs
            if other in graph and other not in (package, "__init__") and not stair:
                graph[package].add(other)
    return graph


def cycles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972, doi:10.1137/0201010)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def measures(root: Path = SRC) -> dict[str, float]:
    """Measure the tree."""
    sources = [read(path, root) for path in sorted(root.rglob("*.py"))]
    code, docs = (sum(len(getattr(source, kind)) for source in sources) for kind in ("code", "docs"))
    return {
        "files": len(sources),
        "lines": sum(source.lines for source in sources),
        "code lines": code,
        "docstring lines": docs,
        "docstring / code": docs / code,
        "code lines a file, median": statistics.median(len(source.code) for source in sources),
        "code lines a file, most": max(len(source.code) for source in sources),
        "code lines a function, most": max(n for source in sources for _, n in function_lengths(source)),
        "share of imports and __all__": sum(len(source.plumbing) for source in sources) / code,
        "late imports": sum(len(late_statements(source.path)) for source in sources),
    }


def main() -> int:
    """Print the measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every late import and every long file")
    parser.add_argument("--root", type=Path, default=SRC, help="another tree")
    chosen = parser.parse_args()
    for name, value in measures(chosen.root).items():
        print(f"{name:30} {value:10.2f}" if value % 1 else f"{name:30} {value:10.0f}")
    sources = [read(path, chosen.root) for path in sorted(chosen.root.rglob("*.py"))]
    for what, graph in (
        ("cycles of modules", module_graph(sources)),
        ("with late imports", module_graph(sources, late=True)),
        ("cycles of packages", package_graph(sources, STAIRS)),
    ):
        print(f"{what:30} {cycles(graph) or 'none'}")
    if chosen.list:
        for source in sources:
            for line in late_statements(source.path):
                print(f"{source.path.relative_to(chosen.root)}:{line} late import")
        for source in sorted(sources, key=lambda one: -len(one.code))[:15]:
            print(f"{len(source.code):5d} {source.path.relative_to(chosen.root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
