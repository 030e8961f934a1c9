"""The rooms' import order: a room imports only from itself and the rooms before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("configs", "tools", "env", "actors", "synth", "learner", "evals", "videoseeker")
FILES = [path for room in ROOMS for path in sorted([*ROOT.glob(f"{room}/**/*.py"), *ROOT.glob(f"{room}.py")])]


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").split(".")[0] if not node.level else "a relative import"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_rooms_before_it(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    later = {*ROOMS[ROOMS.index(room) + 1 :], "benchmarks", "tests", "a relative import"}
    wrong = [f"{path}:{line} imports {name}" for line, name in imported_rooms(path) if name in later]
    assert not wrong


def test_every_package_that_ships_is_a_room():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {*ROOMS, "benchmarks", "tests"} - {"videoseeker"}


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("tools", {"ray", "vllm", "deepspeed", "transformers", "torch"}),
        ("env", {"ray", "vllm", "deepspeed"}),
        ("configs", {"ray", "vllm", "deepspeed", "torch", "transformers"}),
    ],
)
def test_the_ground_floor_knows_no_engine(room, strangers):
    found = {name for path in ROOT.glob(f"{room}/**/*.py") for _, name in imported_rooms(path)}
    assert not found & strangers


@pytest.mark.parametrize("module", ["grpo", "ratios", "advantages", "logprobs"])
def test_the_losses_import_neither_ray_nor_deepspeed(module):
    found = {name for _, name in imported_rooms(ROOT / "learner" / f"{module}.py")}
    assert not found & {"ray", "deepspeed", "vllm"}
