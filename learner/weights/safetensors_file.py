"""Weights as a safetensors file, in memory that the machine's processes share, or on disk.

Invariants: the file is written parameter by parameter and is never in memory besides itself; the shared one is made
once, written in place ever after, and lives no longer than the process that made it, however that ends.
"""

import json
import mmap
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
import torch

from learner.weights.gather import Entry

NAME = "model.safetensors"
PREFIX = "videoseeker-weights-"
ALIGNMENT = 64
"""The data begin at a multiple of this, bytes."""
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""The format's names of the types."""


def header(entries: Sequence[Entry]) -> bytes:
    """Make the head of a safetensors file: the length, 8 bytes, then JSON. The data follow without gaps, in order."""
    start, described = 0, {}
    for entry in entries:
        end = start + entry.nbytes
        described[entry.name] = {"dtype": DTYPES[entry.dtype], "shape": list(entry.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **described}).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


class SharedFile:
    """A safetensors file in anonymous shared memory, which engines on the same machine map.

    It is reached through a link to this process's open file, so that a process that is killed leaves nothing behind.
    """

    def __init__(self) -> None:
        self._file = -1
        self._head = b""
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def fits(self, entries: Sequence[Entry]) -> bool:
        """Return whether the machine has such memory, and enough of it that as much stays free."""
        size = sum(entry.nbytes for entry in entries)
        return len(self._bytes) > size or (hasattr(os, "memfd_create") and psutil.virtual_memory().available > 2 * size)

    def write(self, entries: Sequence[Entry], tensors: Iterable[tuple[str, torch.Tensor]]) -> Path:
        """Write all `tensors`, in the order of `entries`, into a new folder, to be removed once it is read."""
        head = header(entries)
        if head != self._head:
            self.close()
            size = len(head) + sum(entry.nbytes for entry in entries)
            self._file = os.memfd_create(PREFIX + "memory")
            os.ftruncate(self._file, size)
            os.pwrite(self._file, head, 0)
            # The tensor keeps the mapping alive.
            self._bytes = torch.frombuffer(mmap.mmap(self._file, size), dtype=torch.uint8)
            self._head = head
        start = len(head)
        for entry, (_, tensor) in zip(entries, tensors, strict=True):
            # As bytes: a tensor behind one of another type need not be aligned to its own.
            self._bytes[start : start + entry.nbytes].copy_(raw(tensor))
            start += entry.nbytes
        folder = new_folder(None)
        (folder / NAME).symlink_to(f"/proc/{os.getpid()}/fd/{self._file}")
        return folder

    def close(self) -> None:
        """Give the memory back."""
        if self._file >= 0:
            self._bytes = torch.empty(0, dtype=torch.uint8)
            os.close(self._file)
            self._file, self._head = -1, b""


def write_file(entries: Sequence[Entry], tensors: Iterable[tuple[str, torch.Tensor]], folder: str | None) -> Path:
    """Write all `tensors`, which come in the order of `entries`, into a folder that `new_folder` makes in `folder`."""
    path = new_folder(folder)
    with open(path / NAME, "wb") as file:
        file.write(header(entries))
        for _, tensor in tensors:
            file.write(raw(tensor.cpu()).numpy())
    return path


def new_folder(within: str | None) -> Path:
    """Make a folder for what engines load, named after this process; those of processes of this machine that were
    killed are removed. None takes the folder for temporary files."""
    mine = f"{PREFIX}{socket.gethostname()}-"
    place = Path(within or tempfile.gettempdir())
    for left in place.glob(f"{mine}*"):
        pid = left.name.removeprefix(mine).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-", dir=place))


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """View a tensor as its bytes, [n] uint8."""
    return tensor.contiguous().view(-1).view(torch.uint8)
