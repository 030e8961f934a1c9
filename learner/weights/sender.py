"""What a rank does so that weights leave the learner: to engines, by file or by vLLM's transfer, and as exports.

Invariant: all ranks walk through the same parts in the same order (ZeRO-3 gathers in collectives); rank 0 alone writes
and talks to engines.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from actors.engine.handle import EngineHandle
from actors.engine.request import EngineInfo
from configs.run import Config
from configs.training import Transport
from learner.model import lora
from learner.weights.engines import PublishError, Written
from learner.weights.gather import Part, adapter_parts, policy_parts, walk
from learner.weights.hf_folder import write_hf_folder
from learner.weights.safetensors_file import SharedFile, new_folder, write_file
from learner.weights.vllm_transfer import EngineConnection, ParameterSource


class WeightSender:
    """Sends and writes the weights of one rank; every method is called on all ranks at once."""

    def __init__(self, model: torch.nn.Module, config: Config, model_dir: str, rank: int) -> None:
        self._model, self._config, self._model_dir, self._rank = model, config, model_dir, rank
        self._sharded = config.ranks.zero_stage == 3
        self._bucket_bytes = config.ranks.bucket_mib * 2**20
        self._shared = SharedFile()
        self._connection: EngineConnection | None = None

    def write(self, transport: Transport) -> Written | None:
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
        return Written(str(path), source.checksums())

    def remove(self, path: str) -> None:
        """Remove what `write` wrote (rank 0)."""
        if self._rank == 0:
            shutil.rmtree(path, ignore_errors=True)

    def send(
        self, transport: Transport, engines: Sequence[EngineHandle], infos: Sequence[EngineInfo], version: int
    ) -> dict[int, str]:
        """Send the weights by vLLM's weight transfer (rank 0); returns engines that failed, by index, and why."""
        if self._connection is None or self._connection.lives != tuple(info.life for info in infos):
            self._leave()
            limits = self._bucket_bytes, self._config.ranks.step_timeout_s
            joined: dict[int, str] = {}
            try:
                self._connection = EngineConnection(transport, self._rank, self._source(), engines, infos, *limits)
            except PublishError as error:
                joined = error.failed
            joined = self._agreed(joined)
            if joined or self._connection is None:
                self._leave()
                return joined
        failed = self._agreed(self._connection.send(version))
        if failed:
            self._leave()
        return failed

    def _agreed(self, failed: dict[int, str]) -> dict[int, str]:
        """Give every rank what rank 0 found: they join, send and leave together."""
        if self._config.ranks.ranks == 1:
            return failed
        found = [failed]
        torch.distributed.broadcast_object_list(found, src=0)
        return found[0]

    def export(self, path: str) -> None:
        """Write a Hugging Face folder of the policy (rank 0), whole or not at all."""
        gathered = self._gather(self._policy_parts())
        if gathered is not None:
            write_hf_folder(gathered, self._model, self._model_dir, path)

    def export_adapter(self, path: str) -> None:
        """Write the adapter alone in PEFT's format (rank 0)."""
        tensors = self._gather(adapter_parts(self._model))
        if tensors is not None:
            Path(path).mkdir(parents=True, exist_ok=True)
            lora.write_adapter(tensors, self._config.ranks.lora, self._model_dir, Path(path))

    def _write_adapter(self) -> Written | None:
        path = "" if self._rank else str(new_folder(self._config.ranks.weights_dir))
        self.export_adapter(path)
        return None if self._rank else Written(path, None)

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _policy_parts(self) -> list[Part]:
        return policy_parts(self._model, self._config.ranks.lora)

    def _gather(self, parts: Sequence[Part]) -> dict[str, torch.Tensor] | None:
        """Gather the tensors by name on the CPU (rank 0). Where nothing is sharded and the model is on the CPU these
        are the parameters themselves."""
        tensors = {}
        for name, tensor in walk(parts, sharded=self._sharded, bucket_bytes=self._bucket_bytes):
            if self._rank == 0:
                tensors[name] = tensor.to("cpu", copy=self._sharded).contiguous()
        return tensors if self._rank == 0 else None

    def _source(self) -> ParameterSource:
        dtype = getattr(torch, self._config.engine.dtype, None)
        return ParameterSource(
            self._policy_parts(), sharded=self._sharded, bucket_bytes=self._bucket_bytes, dtype=dtype
        )
