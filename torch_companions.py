"""Lets a CPU build of torch live beside torchvision, torchaudio and torchcodec wheels that were linked for CUDA.

PyPI's x86-64 wheels of these companions link CUDA libraries. Beside a CPU torch their import raises, and with it
`import transformers` and `import vllm`, in every process. torch loads the entry points of the group
`torch.backends` at the end of `import torch`, in every process of the environment, so `adapt` runs just in time:
where torch is a CPU build and a companion's library cannot load, it declares the two operators that torchvision's
Python code registers against, lets torchaudio go without its compiled part, and marks torchcodec as absent. Where
they load it does nothing. torchaudio may not be marked as absent: transformers asks for it before it imports torch,
remembers the answer and imports it afterwards.
"""

import ctypes
import importlib.util
import sys
import types
from pathlib import Path

_TORCHVISION_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def adapt() -> None:
    """The entry point; see the module's docstring."""
    import torch
    from torch import library

    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    if _installed_but_broken("torchvision", "_C.so"):
        for name in ("nms", "qnms"):
            library.define(f"torchvision::{name}", _TORCHVISION_SCHEMA)
    if _installed_but_broken("torchaudio", "lib/*torchaudio*.so"):
        loader = types.ModuleType("torchaudio._extension.utils")
        loader.__dict__.update(_load_lib=_no_library, _check_cuda_version=lambda: None, _init_dll_path=lambda: None)
        sys.modules.setdefault(loader.__name__, loader)
    if _installed_but_broken("torchcodec", "libtorchcodec_core*.so"):
        sys.modules.setdefault("torchcodec", None)  # type: ignore[arg-type]


def _no_library(name: str) -> bool:
    """What torchaudio's own loader answers where the compiled part is not installed."""
    return False


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
