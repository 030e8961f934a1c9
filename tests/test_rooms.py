"""The borders of the rooms: imports run one way, folders stay small, and what is pure stays pure.

The rooms, from the ground up, are those of docs/architecture.md.
"""

import ast
import graphlib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "configs",
    "storage",
    "pages",
    "endpoint",
    "tools",
    "env",
    "actors",
    "synth",
    "learner",
    "evals",
    "recipes",
    "videoseeker",
    "benchmarks",
    "tests",
)
"""A room imports from itself and those before it; benchmarks use the films, models and servers of `tests/` as well."""
SHARED_BY_TESTS = ("tests.films", "tests.models", "tests.servers")
MOST_FILES = 16
STRANGERS = {
    "storage": {"ray", "vllm", "deepspeed", "torch", "transformers", "omegaconf", "configs"},
    "configs": {"ray", "vllm", "deepspeed", "torch", "transformers"},
    "endpoint": {"ray", "vllm", "deepspeed", "torch", "transformers"},
    "tools": {"ray", "vllm", "deepspeed", "transformers", "torch"},
    "env": {"ray", "vllm", "deepspeed"},
    "env/judging": {"ray", "vllm", "deepspeed", "torch", "transformers"},
    "learner/objective": {"ray", "vllm", "deepspeed", "torch.distributed", "transformers"},
    "evals": {"deepspeed"},
    "synth": {"deepspeed"},
}
"""By folder, packages that it knows nothing of."""
PURE = ("learner/selection.py", "evals/score.py", "env/turn.py", "env/reward.py")
"""Files that compute and do nothing else."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(path for room in ROOMS for path in [*ROOT.glob(f"{room}/**/*.py"), *ROOT.glob(f"{room}.py")])
MODULES = {module_of(path): path for path in FILES}


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """(line, module) of every import, those inside functions too; `from a import b` is of a.b where that is a file."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            whole = "." * node.level + (node.module or "")
            found += [(node.lineno, name if name in MODULES or node.level else whole) for name in names]
    return tuple(dict.fromkeys(found))


def place(path: Path) -> str:
    """The room's folder that a file is in, or the file itself where it lies on top of its room."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "/".join(parts[:2])


def rank(module: str) -> int:
    return ROOMS.index(module.split(".")[0]) if module.split(".")[0] in ROOMS else -1


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=show)
def test_a_file_imports_only_from_rooms_before_its_own(path: Path) -> None:
    mine = rank(module_of(path))
    if path.relative_to(ROOT).parts[0] == "tests" and path.relative_to(ROOT).parts[1] in ROOMS:
        # The tests of a room know no later room either.
        mine = rank(path.relative_to(ROOT).parts[1])
    wrong = [
        f"{show(path)}:{line} imports {module}"
        for line, module in imports(path)
        if module.startswith(".") or (rank(module) > mine and not module.startswith("tests."))
    ]
    if not show(path).startswith("tests/"):
        allowed = SHARED_BY_TESTS if show(path).startswith("benchmarks/") else ()
        wrong += [
            f"{show(path)}:{line} imports {module}"
            for line, module in imports(path)
            if module.startswith("tests") and not (allowed and module.startswith(allowed))
        ]
    assert not wrong


def circle(arrows: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def arrows_between(*, folders: bool) -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        here = place(path) if folders else show(path)
        for _, module in imports(path):
            if module in MODULES:
                there = place(MODULES[module]) if folders else show(MODULES[module])
                if there != here:
                    arrows[here].add(there)
    return arrows


@pytest.mark.parametrize("folders", [False, True], ids=["files", "folders"])
def test_nothing_imports_itself_by_way_of_others(folders: bool) -> None:
    assert not circle(arrows_between(folders=folders))


@pytest.mark.parametrize("path", FILES, ids=show)
def test_no_import_is_for_the_type_checker_alone(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert "TYPE_CHECKING" not in names


def test_a_folder_holds_few_files() -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in FILES:
        if path.name not in ("__init__.py", "conftest.py"):
            counts[show(path.parent)] += 1
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES and folder != "."} == {}


@pytest.mark.parametrize("folder", STRANGERS)
def test_a_folder_knows_nothing_of_some_packages(folder: str) -> None:
    strangers = STRANGERS[folder]
    wrong = [
        f"{show(path)}:{line} imports {module}"
        for path in FILES
        if show(path).startswith(f"{folder}/")
        for line, module in imports(path)
        if any(module == name or module.startswith(f"{name}.") for name in strangers)
    ]
    assert not wrong


@pytest.mark.parametrize("path", PURE)
def test_what_computes_does_nothing_else(path: str) -> None:
    strangers = {"ray", "vllm", "deepspeed", "os", "pathlib", "subprocess", "socket", "httpx", "torch.distributed"}
    assert not {module for _, module in imports(ROOT / path)} & strangers


def test_every_package_is_a_room_and_is_installed() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {*ROOMS} - {"videoseeker"}
    installed = ast.literal_eval(
        (ROOT / "pyproject.toml").read_text().split("\npackages = ", 1)[1].split("\n]", 1)[0] + "\n]"
    )
    shipped = [room for room in ROOMS if room not in ("videoseeker", "benchmarks", "tests")]
    folders = {module_of(path) for room in shipped for path in ROOT.glob(f"{room}/**/__init__.py")}
    assert set(installed) == folders
