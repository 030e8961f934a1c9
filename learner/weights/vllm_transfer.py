"""vLLM's own weight transfer from the ranks to the engines: packed NCCL broadcast, or CUDA IPC on one GPU.

Invariant: all ranks walk through all parameters in every `send`, whatever becomes of the engines, so that none waits
in a collective for another; rank 0 alone talks to the engines, and each of its waits has a deadline. What NCCL itself
waits for has none but that of the call which the ranks serve (`ranks.step_timeout_s`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import ray
import torch

from actors.engine.checksum import checksum, exact
from actors.engine.handle import EngineHandle
from actors.engine.request import EngineInfo, TransferStep
from configs.training import Transport
from learner.weights.engines import PublishError, collect
from learner.weights.gather import Entry, Part, walk

InitInfo = dict[str, Any]
"""What vLLM's trainer sends to a worker that is to join, by its own names."""
OFFSET = "rank_offset"
"""Key of an NCCL worker's init info: the rank of an engine's first GPU in the group of trainer and workers."""


class ParameterSource:
    """The policy's tensors, in the two channels of vLLM's `WeightSource`: `metadata`, and iteration."""

    def __init__(self, parts: Sequence[Part], *, sharded: bool, bucket_bytes: int, dtype: torch.dtype | None) -> None:
        """`dtype` is that of the engines, for the checksums; None takes none."""
        self._parts, self._sharded, self._bucket_bytes, self._dtype = parts, sharded, bucket_bytes, dtype
        self._sums: dict[str, torch.Tensor] = {}
        self._walk: Iterator[tuple[str, torch.Tensor]] = iter(())

    def metadata(self) -> list[Entry]:
        """Describe what iteration yields, in its order."""
        return [part.entry for part in self._parts]

    def renew(self) -> None:
        """Begin another walk."""
        self._sums = {}
        self._walk = walk(self._parts, sharded=self._sharded, bucket_bytes=self._bucket_bytes)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in self._walk:
            if self._dtype is not None:
                self._sums[name] = checksum(tensor, self._dtype)
            # Gathered tensors are copied: vLLM cuts buckets of its own, and packs them when ours are gone.
            yield name, tensor.clone() if self._sharded else tensor

    def drain(self) -> None:
        """Walk to the end, from wherever the sender stopped: the other ranks do."""
        for _ in self._walk:
            pass

    def checksums(self) -> dict[str, int] | None:
        """Return the checksums of the last walk, by name."""
        return exact(self._sums) if self._dtype is not None else None


class EngineClient:
    """The control plane of vLLM's weight transfer (its `VLLMWeightSyncClient`), over our engine actors."""

    def __init__(
        self,
        engines: Sequence[EngineHandle],
        gpus: Sequence[int],
        backend: str,
        source: ParameterSource,
        timeout_s: float,
    ) -> None:
        """`gpus` are the workers of each engine."""
        self._engines, self._gpus, self._backend, self._timeout_s = engines, gpus, backend, timeout_s
        self._source = source
        self.version = 0
        """Policy version that is being sent."""
        self.failed: dict[int, str] = {}
        """By CUDA IPC: engines that did not take a step, while the ranks went on with the others; see `_all`."""

    def init_weight_transfer_engine(self, init_info: InitInfo) -> None:
        """Have every engine join, each with ranks of its own."""
        self._all("join", [(self._backend, info) for info in joining(init_info, self._gpus)])

    def start_weight_update(self) -> None:
        """Let running turns finish and hold new ones."""
        self._all("start", [()] * len(self._engines))

    def update_weights(self, update_info: object) -> None:
        """Receive what is sent meanwhile."""
        self._all("receive", [(update_info,)] * len(self._engines))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Compare checksums, forget cached states, go on with the new version."""
        self._all("finish", [(self._source.checksums(),)] * len(self._engines))

    def _all(self, step: TransferStep, arguments: Sequence[tuple[object, ...]]) -> None:
        calls = [
            engine.transfer_weights(step, self.version, *given)
            for engine, given in zip(self._engines, arguments, strict=True)
        ]
        _, failed = collect(calls, self._timeout_s)
        if failed and self._backend == "ipc":
            # vLLM's ranks meet after every bucket: one that stopped would leave the others waiting.
            self.failed |= failed
        elif failed:
            raise PublishError(self.version, failed)


class EngineConnection:
    """The ranks' connection to a set of engines; every rank makes one, and calls `send` with the others."""

    def __init__(
        self,
        transport: Transport,
        rank: int,
        source: ParameterSource,
        engines: Sequence[EngineHandle],
        infos: Sequence[EngineInfo],
        bucket_bytes: int,
        timeout_s: float,
    ) -> None:
        """`infos` are the engines', in their order. Raises PublishError where they could not be joined."""
        from vllm.distributed.weight_transfer import WeightTransferTrainerFactory

        self.lives = tuple(info.life for info in infos)
        """Lives of the engines: one that was restarted has left."""
        self._source = source
        gpus = [len(info.devices) for info in infos]
        self._client = EngineClient(engines, gpus, transport, source, timeout_s)
        self._trainer = WeightTransferTrainerFactory.trainer_init(
            trainer_info(transport, rank, sum(gpus), bucket_bytes), client=self._client, source=source
        )

    def send(self, version: int) -> dict[int, str]:
        """Send the weights as policy `version`. Returns which engines failed, by index, and why; after that the
        connection is of no more use."""
        self._client.version, self._client.failed = version, {}
        self._source.renew()
        try:
            self._trainer.send_weights()
        except PublishError as error:
            self._source.drain()
            return error.failed
        return self._client.failed

    def close(self) -> None:
        """Leave the group."""
        self._trainer.shutdown()


def trainer_info(transport: Transport, rank: int, workers: int, bucket_bytes: int) -> Any:
    """Make what vLLM's trainer is opened with: packed weights, rank 0 the sender; `workers` are all engines' GPUs."""
    if transport == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        return IPCTrainerInitInfo(rank=rank, packed=True, packed_buffer_size_bytes=bucket_bytes)
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo
    from vllm.utils.network_utils import get_open_port

    return NCCLTrainerInitInfo(
        rank=rank,
        master_address=ray.util.get_node_ip_address(),
        master_port=get_open_port(),
        world_size=1 + workers,
        packed=True,
        packed_buffer_size_bytes=bucket_bytes,
    )


def joining(init_info: InitInfo, gpus: Sequence[int]) -> list[InitInfo]:
    """Make the init info of each engine, which has so many GPUs: vLLM's trainer gives that of one; those after it come
    behind in the ranks."""
    if OFFSET not in init_info:
        return [dict(init_info) for _ in gpus]
    return [{**init_info, OFFSET: init_info[OFFSET] + sum(gpus[:i])} for i in range(len(gpus))]
