"""Lets a CPU build of torch live beside torchvision, torchaudio and torchcodec wheels that were linked for CUDA.

PyPI's x86-64 wheels of these companions link CUDA libraries. Beside a CPU torch their import raises, and with it
`import transformers` and `import vllm`, in every process. torch loads the entry points of the group
`torch.backends` at the end of `import torch`, in every process of the environment, so `adapt` runs just in time:
where torch is a CPU build and a companion's library cannot load, it declares the two operators that torchvision's
Python code registers against, and marks torchaudio and torchcodec as absent. Where they load it does nothing.
"""

import ctypes
import importlib.util
import sys
from pathlib import Path

_TORCHVISION_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries = []
"""`torch.library.Library` objects undeclare their operators when they are collected."""


def adapt() -> None:
    """The entry point; see the module's docstring."""
    import torch

    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    if _installed_but_broken("torchvision", "_C.so"):
        library = torch.library.Library("torchvision", "DEF")
        for schema in _TORCHVISION_SCHEMAS:
            library.define(schema)
        _libraries.append(library)
    for name, pattern in (("torchaudio", "lib/*torchaudio*.so"), ("torchcodec", "libtorchcodec_core*.so")):
        if _installed_but_broken(name, pattern):
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def _installed_but_broken(package: str, pattern: str) -> bool:
    """True where the package is installed and none of its shared libraries that match the pattern can load."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(next(iter(spec.submodule_search_locations)))
    return not any(_loads(library) for library in folder.glob(pattern))


def _loads(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library))
    except OSError:
        return False
    return True
