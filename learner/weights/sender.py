"""A rank's side of what leaves the learner: weights to engines, by file or by vLLM's transfer, and exports.

Invariant: all ranks walk through the same parts in the same order (ZeRO-3 gathers in collectives); rank 0 alone writes
and talks to engines.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from actors.engine.request import EngineInfo
from configs.run import Config
from configs.training import Transport
from learner.model import lora
from learner.weights import engines
from learner.weights.gather import Part, adapter_parts, policy_parts
from learner.weights.safetensors_file import SharedFile, new_folder, write_file
from learner.weights.vllm_transfer import EnginesFailed, ParameterSource, Sender


class Outgoing:
    """The policy's way out of one rank; every method is called on all ranks at once."""

    def __init__(self, model: torch.nn.Module, config: Config, model_dir: str, rank: int) -> None:
        self._model, self._config, self._model_dir, self._rank = model, config, model_dir, rank
        self._sharded = config.ranks.zero_stage == 3
        self._bucket_bytes = config.ranks.bucket_mib * 2**20
        self._shared = SharedFile()
        self._sender: Sender | None = None

    def write(self, transport: Transport) -> engines.Written | None:
        """Write what the engines load to a file, in shared memory where `transport` says so and there is room: the
        weights, or the adapter alone where `engine.lora_rank` asks for it (rank 0)."""
        if self._config.engine.lora_rank:
            return self._write_adapter()
        source = self._source()
        source.renew()
        if self._rank:
            source.drain()
            return None
        entries = source.metadata()
        if transport == "shared_memory" and self._shared.fits(entries):
            path = self._shared.write(entries, source)
        else:
            path = write_file(entries, source, self._config.ranks.weights_dir)
        return engines.Written(str(path), sum(entry.nbytes for entry in entries), source.checksums())

    def send(
        self, transport: Transport, engines: Sequence[Any], infos: Sequence[EngineInfo], version: int
    ) -> dict[int, str]:
        """Send the weights by vLLM's weight transfer (rank 0); engines that failed, by index, and why."""
        if self._sender is None or self._sender.lives != tuple(info.life for info in infos):
            self._leave()
            limits = self._bucket_bytes, self._config.ranks.step_timeout_s
            joined: dict[int, str] = {}
            try:
                self._sender = Sender(transport, self._rank, self._source(), engines, infos, *limits)
            except EnginesFailed as error:
                joined = error.failed
            joined = self._agreed(joined)
            if joined or self._sender is None:
                self._leave()
                return joined
        failed = self._agreed(self._sender.send(version))
        if failed:
            self._leave()
        return failed

    def _agreed(self, failed: dict[int, str]) -> dict[int, str]:
        """What rank 0 found, on all ranks: they join, send and leave together."""
        if self._config.ranks.ranks == 1:
            return failed
        said = [failed]
        torch.distributed.broadcast_object_list(said, src=0)
        return said[0]

    def export(self, path: str) -> None:
        """A Hugging Face folder of the policy (rank 0), whole or not at all."""
        gathered = self._gather(self._policy_parts())
        if gathered is not None:
            engines.export(gathered, self._model, self._model_dir, path)

    def export_adapter(self, path: str) -> int:
        """The adapter alone in PEFT's format (rank 0); its bytes."""
        tensors = self._gather(adapter_parts(self._model))
        if tensors is None:
            return 0
        Path(path).mkdir(parents=True, exist_ok=True)
        lora.write_adapter(tensors, self._config.ranks.lora, self._model_dir, Path(path))
        return sum(tensor.nbytes for tensor in tensors.values())

    def _write_adapter(self) -> engines.Written | None:
        path = "" if self._rank else str(new_folder(self._config.ranks.weights_dir))
        nbytes = self.export_adapter(path)
        return None if self._rank else engines.Written(path, nbytes, None)

    def _leave(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _policy_parts(self) -> list[Part]:
        return policy_parts(self._model, self._config.ranks.lora)

    def _gather(self, parts: Sequence[Part]) -> dict[str, torch.Tensor] | None:
        return engines.gather(parts, sharded=self._sharded, bucket_bytes=self._bucket_bytes, keep=self._rank == 0)

    def _source(self) -> ParameterSource:
        dtype = getattr(torch, self._config.engine.dtype, None)
        return ParameterSource(
            self._policy_parts(), sharded=self._sharded, bucket_bytes=self._bucket_bytes, dtype=dtype
        )


def remove(path: str) -> None:
    """Remove what `Outgoing.write` wrote."""
    shutil.rmtree(path, ignore_errors=True)
