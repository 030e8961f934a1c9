"""What stands where an engine actor would, without vLLM. Ray imports this module in each, so it imports little."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from actors.engine.request import WeightReport
from actors.errors import EngineError


class HoldingEngine:
    """Holds the weights that it is told to load, checked as an engine checks them."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def load_weights(self, path: str, version: int, checksums: Mapping[str, int]) -> WeightReport:
        from safetensors.torch import load_file

        from actors.engine.checksum import checksum, exact

        if self.fails:
            raise RuntimeError("out of memory")
        file = Path(path) / "model.safetensors"
        self.weights = {name: tensor.clone() for name, tensor in load_file(file).items()}
        assert checksums == exact({name: checksum(tensor) for name, tensor in self.weights.items()})
        return WeightReport(version, 0.0, len(checksums))

    def held(self) -> dict[str, Any]:
        return self.weights


class NotingEngine:
    """Notes the steps of a weight transfer that it is asked to take."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.steps: list[tuple[str, int, tuple[Any, ...]]] = []

    def transfer_weights(self, step: str, version: int, *arguments: Any) -> WeightReport:
        if step == self.fails_at:
            raise EngineError(f"engine: died in {step}")
        self.steps.append((step, version, arguments))
        return WeightReport(version, 0.0)

    def taken(self) -> list[tuple[str, int, tuple[Any, ...]]]:
        return self.steps


class SeatedEngine:
    """Knows on which GPUs it is."""

    def gpus(self) -> list[int]:
        return ray.get_gpu_ids()
