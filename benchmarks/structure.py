"""The structure of the code in numbers: entries and arrows a room, long files and functions, `Any`, repeated runs.

`python -m benchmarks.structure [CHECKOUT]` counts another checkout of this repository, for a before and after.
"""

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import finish, table

ROOT = Path(__file__).parents[1]
RUN = 6
"""Lines of a repeated run."""


def sources(root: Path, *, tests: bool = False) -> list[Path]:
    """Every Python file of a checkout's packages and top level."""
    folders = sorted(path.parent for path in root.glob("*/__init__.py") if tests or path.parent.name != "tests")
    return [*(path for folder in folders for path in sorted(folder.rglob("*.py"))), *sorted(root.glob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file may mean by its imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def arrows(root: Path, room: str) -> tuple[int, int]:
    """What a room shows on its top: entries (files and folders), and arrows (entry imports entry) between them."""
    entries: dict[str, str] = {}
    for path in (root / room).rglob("*.py"):
        inside = path.relative_to(root / room).parts
        if path.name != "__init__.py":
            entries[".".join(path.relative_to(root).with_suffix("").parts)] = inside[0]
    found = {
        (entry, entries[name])
        for module, entry in entries.items()
        for name in imported(root / (module.replace(".", "/") + ".py"))
        if entries.get(name, entry) != entry
    }
    return len(set(entries.values())), len(found)


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Lines and name of each function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.end_lineno - node.lineno + 1, f"{path.name}:{node.name}"


def repeated(paths: list[Path]) -> int:
    """Runs of `RUN` code lines that stand in more than one place; imports, comments and blank lines do not count."""
    seen: Counter[tuple[str, ...]] = Counter()
    for path in paths:
        lines = [line.strip() for line in path.read_text().splitlines()]
        code = [line for line in lines if len(line) > 3 and not line.startswith(("#", "import ", "from "))]
        seen.update({tuple(code[i : i + RUN]) for i in range(len(code) - RUN + 1)})
    return sum(count > 1 for count in seen.values())


def main() -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--quick", action="store_true", help="the same; it takes seconds")
    root = parser.parse_args().checkout.absolute()
    paths = sources(root)
    rooms = sorted({path.relative_to(root).parts[0] for path in paths if path.parent != root})
    shown = {room: arrows(root, room) for room in rooms}
    files: dict[str, int] = defaultdict(int)
    for path in paths:
        files[str(path.parent.relative_to(root))] += path.name != "__init__.py"
    table("rooms", ["room", "entries", "arrows"], [[room, *shown[room]] for room in rooms])
    fullest = sorted(files.items(), key=lambda item: -item[1])[:8]
    table("fullest folders", ["folder", "files"], fullest)
    lines = ((len(path.read_text().splitlines()), str(path.relative_to(root))) for path in paths)
    lengths = sorted(lines, reverse=True)
    longest = sorted((each for path in paths for each in functions(path)), reverse=True)
    table("longest files", ["lines", "file"], lengths[:5])
    table("longest functions", ["lines", "function"], longest[:5])
    figures = {
        "entries_and_arrows": {room: list(counts) for room, counts in shown.items()},
        "most_files_in_a_folder": max(files.values()),
        "longest_file": lengths[0][0],
        "longest_function": longest[0][0],
        "any": sum(len(re.findall(r"\bAny\b", path.read_text())) for path in paths),
        "repeated_runs": repeated(paths),
        "lines": sum(length for length, _ in lengths),
        "tests": sum(path.read_text().count("\ndef test_") for path in sources(root, tests=True)),
    }
    finish("structure", {}, figures)


if __name__ == "__main__":
    main()
