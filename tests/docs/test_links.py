"""What the documents name exists: files and folders, symbols beside a link, dotted names, settings, errors."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from configs.run import Config
from tests.test_rooms import MODULES, ROOMS, ROOT

DOCS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"(?<![\w./~-])((?:[\w.-]+/)+[\w.-]+\.(?:py|md|html|toml|yaml|jpg|png))\b")
FOLDER = re.compile(r"`((?:\w+/)+)`")
DOTTED = re.compile(r"`(?:\w+\.py)?([a-z_]+(?:\.\w+)+)(?:=[^`]*|\([^`]*)?`")
BESIDE = re.compile(r"\]\(([^)\s]+\.py)\)((?:,? `[\w.]+`)+)")
MADE = ("runs/", "dataset/", "episodes/", "stages/", "videos/", "frames/")
"""Beginnings of paths that commands make."""


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(doc: Path) -> str:
    """The text without blocks of code."""
    return re.sub(r"^```.*?^```", "", doc.read_text(), flags=re.M | re.S)


@cache
def symbols(path: Path) -> frozenset[str]:
    """What a module defines at its top, and what its classes do, as `Class.name`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        found.update(_names(node))
        if isinstance(node, ast.ClassDef):
            found.update(f"{node.name}.{name}" for inner in node.body for name in _names(inner))
    return frozenset(found)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def is_setting(key: str) -> bool:
    kind: object = Config
    for part in key.split("."):
        if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
            return False
        types = {field.name: field.type for field in dataclasses.fields(kind)}
        if part not in types:
            return False
        kind = types[part]
    return True


def is_defined(name: str) -> bool:
    """Whether `room.folder.module`, or `module.symbol` of one, is in the tree."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        module, rest = ".".join(parts[:i]), ".".join(parts[i:])
        if module in MODULES:
            return not rest or rest in symbols(MODULES[module])
    return False


@pytest.mark.parametrize("doc", DOCS, ids=show)
def test_every_relative_link_leads_somewhere(doc: Path) -> None:
    links = [link for link in LINK.findall(doc.read_text()) if not link.startswith(("http", "#"))]
    assert [link for link in links if not (doc.parent / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize("doc", DOCS, ids=show)
def test_every_file_and_folder_that_is_mentioned_exists(doc: Path) -> None:
    text = LINK.sub("]", doc.read_text())
    text = re.sub(r"https?://\S+", "", text)
    named = {path for path in FILE.findall(text) if not path.startswith(MADE)}
    named |= {path for path in FOLDER.findall(prose(doc)) if not path.startswith(MADE)}
    folders = {f"{module.parent.name}/" for module in MODULES.values()}
    known = {path for path in named if (ROOT / path).exists() or (doc.parent / path).exists()}
    assert named - known - folders == set()


@pytest.mark.parametrize("doc", DOCS, ids=show)
def test_a_symbol_beside_a_link_is_defined_in_that_file(doc: Path) -> None:
    wrong = [
        f"{symbol} in {link}"
        for link, named in BESIDE.findall(doc.read_text())
        for symbol in re.findall(r"`([\w.]+)`", named)
        if symbol not in symbols((doc.parent / link).resolve())
    ]
    assert wrong == []


@pytest.mark.parametrize("doc", DOCS, ids=show)
def test_every_dotted_name_of_a_room_or_of_the_config_exists(doc: Path) -> None:
    sections = {field.name for field in dataclasses.fields(Config)}
    named = {name for name in DOTTED.findall(prose(doc)) if name.split(".")[0] in {*ROOMS, *sections}}
    files = {name for name in named if name.endswith((".py", ".md", ".jsonl", ".yaml"))}
    assert {name for name in named - files if not is_setting(name) and not is_defined(name)} == set()


def anchors(doc: Path) -> set[str]:
    """What headings can be linked by, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", doc.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("doc", DOCS, ids=show)
def test_every_link_to_a_heading_finds_it(doc: Path) -> None:
    links = [link.split("#") for link in LINK.findall(doc.read_text()) if not link.startswith("http") and "#" in link]
    pages = [(doc if not page else doc.parent / page, heading) for page, heading in links]
    assert [(page.name, heading) for page, heading in pages if heading not in anchors(page)] == []


def test_the_table_of_rooms_has_their_order() -> None:
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    assert rows == [*ROOMS[:-1]]


@pytest.mark.parametrize("doc", ["README.md", "docs/architecture.md"])
def test_every_room_and_each_of_its_folders_is_on_the_map(doc: str) -> None:
    text = (ROOT / doc).read_text()
    packages = [show(path.parent) for room in ROOMS[:-1] for path in ROOT.glob(f"{room}/**/__init__.py")]
    assert [package for package in packages if f"{package.split('/')[-1]}/" not in text] == []


def test_every_error_is_in_the_error_model() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    errors = {name for path in MODULES.values() if not show(path).startswith("tests/") for name in _errors(path)}
    assert {name for name in errors if f"`{name}`" not in text} == set()


def _errors(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            if any(base.endswith(("Error", "Exception")) for base in bases):
                yield node.name
