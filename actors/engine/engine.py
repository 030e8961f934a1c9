"""The policy engine: real vLLM in its actor's process.

Invariant: every wait has a deadline, and what a dead or stalled engine leaves unanswered fails with the cause.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import Mapping
from typing import TypeVar

from actors.engine.request import EngineInfo, GenerationRequest, TransferStep, WeightReport
from actors.engine.vllm_thread import VllmThread
from actors.engine.work import Abort, Close, Job, Load, Transfer, Work
from actors.errors import EngineError
from configs.policy import EngineConfig
from env.transcript import Turn

T = TypeVar("T")


class PolicyEngine:
    """One vLLM engine, on the CPU or on `engine.gpus_per_engine` GPUs. A plain class; `Engines` makes actors of it."""

    def __init__(self, config: EngineConfig, model_dir: str, version: int = 0, seed: int = 0):
        self._config = config
        self._model_dir = model_dir
        self._life = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._vllm = VllmThread(config, model_dir, version, seed)

    async def ready(self) -> EngineInfo:
        """What the engine holds, once it serves.

        Raises:
            EngineError: it is not up after `engine.start_timeout_s`, has died, or makes no progress.
        """
        deadline = time.monotonic() + self._config.start_timeout_s
        while not self._vllm.started.is_set():
            if time.monotonic() > deadline:
                raise EngineError(f"engine: not up after engine.start_timeout_s = {self._config.start_timeout_s:g} s")
            await asyncio.sleep(0.05)
        self._require_alive()
        return EngineInfo(
            self._vllm.version,
            self._config.max_model_len,
            self._model_dir,
            round(self._vllm.start_seconds, 3),
            self._life,
            self._vllm.devices,
        )

    async def generate(self, request: GenerationRequest) -> Turn:
        """Sample one turn. Where no token fits any more it is empty, with stop `length`.

        Raises:
            EngineError: the engine died, refused the request, or missed `engine.request_timeout_s`.
            MissingFrames: frames came without pixels and are not in the cache.
        """
        await self.ready()
        if min(self._config.max_model_len - len(request.ids), request.max_tokens) <= 0:
            return Turn((), (), "", "length", self._vllm.version)
        job = Job(str(next(self._numbers)), request, asyncio.get_running_loop().create_future())
        try:
            return await self._finish(job, job.future, f"a turn of {request.max_tokens} tokens")
        except BaseException:
            self._vllm.queue.put(Abort(job.id))
            raise

    async def load_weights(self, path: str, version: int, checksums: Mapping[str, int] | None = None) -> WeightReport:
        """Let the running turns finish, load the safetensors of a Hugging Face folder, forget every cached state. A
        folder that holds a LoRA adapter is loaded beside the weights that the engine was started with.

        Args:
            checksums: of every tensor (`actors.engine.checksum`), in the engine's dtype; None leaves the check out, and
                so does an adapter.

        Raises:
            EngineError: the folder holds other tensors than this model's, or the load missed its deadline; or, and
                then the engine is dead, the weights that vLLM holds are not those of the checksums.
        """
        await self.ready()
        load = Load(str(path), version, asyncio.get_running_loop().create_future(), checksums)
        return await self._finish(load, load.future, f"loading policy version {version}")

    async def transfer_weights(self, step: TransferStep, version: int, *arguments: object) -> WeightReport:
        """One step of vLLM's own weight transfer (`actors.engine.weight_update`), by which policy `version` comes.

        `start` lets the running turns finish, and requests wait until `finish`.

        Raises:
            EngineError: the step failed or missed its deadline; the engine is dead.
        """
        await self.ready()
        transfer = Transfer(step, arguments, version, asyncio.get_running_loop().create_future())
        return await self._finish(transfer, transfer.future, f"the {step} of policy version {version}")

    def close(self) -> None:
        """Stop; requests that wait fail."""
        self._vllm.queue.put(Close())
        self._vllm.thread.join(timeout=30)

    async def _finish(self, item: Work, future: "asyncio.Future[T]", what: str) -> T:
        self._vllm.queue.put(item)
        self._require_alive()
        timeout_s = self._config.request_timeout_s
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise EngineError(f"engine: {what} missed engine.request_timeout_s = {timeout_s:g} s") from None

    def _require_alive(self) -> None:
        vllm = self._vllm
        if vllm.death is not None:
            raise vllm.death
        stalled_s = time.monotonic() - vllm.beat
        if vllm.updating and stalled_s > self._config.request_timeout_s:
            raise EngineError(f"engine: a weight update has not gone on for {stalled_s:.0f} s")
        if vllm.running and stalled_s > self._config.request_timeout_s:
            raise EngineError(f"engine: no step finished for {stalled_s:.0f} s with {len(vllm.running)} requests")
