"""CPU torch beside companions linked for CUDA."""

import _ctypes
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import library

import torch_companions

pytestmark = pytest.mark.process


def run_fresh(code: str) -> str:
    """Standard output of a fresh process of this environment, started away from the checkout."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `companion` on sys.path whose libraries a test lays down."""
    folder = tmp_path / "companion"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor",
        "from transformers import Qwen3VLProcessor",
        "import torch; from transformers import Qwen3VLProcessor",
        "import torchvision; from transformers import AutoProcessor",
        "import torchaudio.functional",
    ],
)
def test_the_companions_import_in_any_order_in_a_fresh_process(imports: Any) -> None:
    assert run_fresh(f"{imports}; print('imported')").endswith("imported")


def test_torchvisions_python_transforms_work_in_a_fresh_process() -> None:
    shape = run_fresh(
        "from torchvision.transforms.v2 import functional; import torch\n"
        "print(tuple(functional.resize(torch.zeros(3, 8, 8), [4, 4]).shape))"
    )
    assert shape == "(3, 4, 4)"


def test_torch_finds_the_entry_point_in_every_process() -> None:
    assert run_fresh("import torch, sys; print('torch_companions' in sys.modules)") == "True"


def test_a_library_that_cannot_load_counts_as_broken(package: Any) -> None:
    (package / "_C.so").write_bytes(b"not a shared library")
    assert torch_companions._installed_but_broken("companion", "_C.so")


def test_a_library_that_loads_is_left_alone(package: Any) -> None:
    (package / "_C.so").symlink_to(_ctypes.__file__)
    assert not torch_companions._installed_but_broken("companion", "_C.so")


def test_one_loadable_build_among_several_is_enough(package: Any) -> None:
    (package / "libcore_a.so").write_bytes(b"not a shared library")
    (package / "libcore_b.so").symlink_to(_ctypes.__file__)
    assert not torch_companions._installed_but_broken("companion", "libcore*.so")


def test_a_companion_that_is_not_installed_is_not_broken() -> None:
    assert not torch_companions._installed_but_broken("no_such_companion", "*.so")


@pytest.mark.parametrize("attribute", ["cuda", "hip"])
def test_a_gpu_build_of_torch_is_left_alone(monkeypatch: pytest.MonkeyPatch, attribute: Any) -> None:
    def look(*_: Any) -> None:
        raise AssertionError("looked at a companion beside a GPU build")

    monkeypatch.setattr(torch.version, attribute, "13.0")
    monkeypatch.setattr(torch_companions, "_installed_but_broken", look)
    torch_companions.adapt()


def test_loadable_companions_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    defined = []
    monkeypatch.setattr(torch_companions, "_loads", lambda library: True)
    monkeypatch.setattr(library, "define", lambda *operator: defined.append(operator))
    modules = dict(sys.modules)
    torch_companions.adapt()
    assert defined == []
    assert dict(sys.modules) == modules


def test_a_broken_torchcodec_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_companions, "_installed_but_broken", lambda name, pattern: name == "torchcodec")
    monkeypatch.delitem(sys.modules, "torchcodec", raising=False)
    torch_companions.adapt()
    assert sys.modules["torchcodec"] is None
