"""Weights as a safetensors file that other processes map."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from learner.weights.gather import Entry, policy_parts, walk
from learner.weights.safetensors_file import NAME, SharedFile, new_folder, write_file

READ = "import sys; from safetensors.torch import load_file as f; print(float(sum(t.double().sum() for t in f(sys.argv[1]).values())))"  # noqa: E501
HOLD = """
import sys, time
sys.path.insert(0, {root!r})
import torch
from learner.weights.safetensors_file import SharedFile
from learner.weights.gather import policy_parts
model, file = torch.nn.Linear(300, 200), SharedFile()
print(file.write([part.entry for part in policy_parts(model)], model.state_dict().items()), flush=True)
time.sleep(60)
"""


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(33, 20), torch.nn.Linear(20, 7).bfloat16(), torch.nn.LayerNorm(5))


@pytest.fixture
def file() -> Iterator[SharedFile]:
    file = SharedFile()
    yield file
    file.close()


def tensors(model: torch.nn.Module) -> Iterator[Any]:
    return walk(policy_parts(model), sharded=False, bucket_bytes=1)


def entries(model: torch.nn.Module) -> list[Entry]:
    return [part.entry for part in policy_parts(model)]


@pytest.mark.process
def test_it_is_a_safetensors_file_for_every_process(model: torch.nn.Module, file: SharedFile) -> None:
    folder = file.write(entries(model), tensors(model))
    loaded = load_file(folder / NAME)
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    assert loaded.keys() == model.state_dict().keys()
    with safe_open(folder / NAME, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    total = subprocess.run([sys.executable, "-c", READ, folder / NAME], capture_output=True, text=True, check=True)
    expected = sum(value.double().sum() for value in model.state_dict().values())
    assert float(total.stdout) == pytest.approx(float(expected))
    shutil.rmtree(folder)


def test_it_is_written_in_place(model: torch.nn.Module, file: SharedFile) -> None:
    first = file.write(entries(model), tensors(model))
    inode = os.stat(first / NAME).st_ino
    shutil.rmtree(first)
    with torch.no_grad():
        for value in model.parameters():
            value += 1
    second = file.write(entries(model), tensors(model))
    assert os.stat(second / NAME).st_ino == inode
    assert torch.equal(load_file(second / NAME)["0.weight"], model[0].weight)
    shutil.rmtree(second)


def test_another_model_makes_another_file(model: torch.nn.Module, file: SharedFile) -> None:
    shutil.rmtree(file.write(entries(model), tensors(model)))
    other = torch.nn.Linear(4, 3)
    folder = file.write(entries(other), tensors(other))
    assert torch.equal(load_file(folder / NAME)["weight"], other.weight)
    shutil.rmtree(folder)


def test_too_few_tensors_are_an_error(model: torch.nn.Module, file: SharedFile) -> None:
    with pytest.raises(ValueError, match="shorter"):
        file.write(entries(model), list(tensors(model))[:-1])


def test_on_disk_it_has_the_same_bytes(model: torch.nn.Module, file: SharedFile, tmp_path: Path) -> None:
    shared, disk = file.write(entries(model), tensors(model)), write_file(entries(model), tensors(model), str(tmp_path))
    assert (shared / NAME).read_bytes() == (disk / NAME).read_bytes()
    assert disk.parent == tmp_path
    shutil.rmtree(shared)


@pytest.mark.process
def test_a_killed_process_leaves_no_memory_behind() -> None:
    script = HOLD.format(root=str(Path(__file__).parents[3]))
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip())
        assert load_file(folder / NAME)["weight"].shape == (200, 300)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert not (folder / NAME).exists()
    shutil.rmtree(folder)


@pytest.mark.process
def test_folders_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n" + (
        f"from learner.weights.safetensors_file import new_folder; print(new_folder({str(tmp_path)!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / f"{Path(killed).name.rpartition('-')[0].rpartition('-')[0]}-notes").mkdir()
    mine = new_folder(str(tmp_path))
    assert Path(killed).parent == tmp_path
    assert not Path(killed).exists()
    assert new_folder(str(tmp_path)) != mine
    assert mine.exists()
    assert len(list(tmp_path.iterdir())) == 3
