"""The one thread that owns vLLM: it admits requests, steps the engine, loads weights.

Invariants:
- Requests and weight updates pass through one queue, in order; an update waits until every running request has
  finished, and requests that come between its steps wait for its end (`_admit`): a turn is sampled by exactly one
  policy version.
- Whatever ends the thread is the error of everybody who waits (`_die`).
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.engine.request import WeightReport
from actors.engine.vllm_request import prompt_of, sampling_of, turn_of
from actors.engine.vllm_setup import (
    ADAPTER_CONFIG,
    LLMEngine,
    LoRARequest,
    forget_states,
    load_adapter,
    require_same_model,
    start_vllm,
    tensor_shapes,
)
from actors.engine.weight_update import WeightUpdate
from actors.engine.work import Abort, Close, Job, Load, Transfer, Work
from actors.errors import EngineError, sentence
from configs.policy import EngineConfig
from env.transcript import Turn

AnyFuture = asyncio.Future[Any]


class VllmThread:
    """Runs from construction to `Close` or death. Its attributes may be read from any thread."""

    def __init__(self, config: EngineConfig, model_dir: str, version: int, seed: int):
        self._config, self._model_dir, self._seed = config, model_dir, seed
        self.queue: queue.SimpleQueue[Work | Abort | Close] = queue.SimpleQueue()
        self._head: Work | None = None
        self._held: deque[Job] = deque()
        """Requests that came during a weight update."""
        self.running: dict[str, Job] = {}
        self.frames_processed = 0
        """Frames of all prompts that were not in the cache and went through the image processor."""
        self._weight_loads = 0
        self._adapter: LoRARequest | None = None
        """The adapter in use, if any."""
        self.version = version
        self.start_seconds = 0.0
        self.started = threading.Event()
        """Set once the engine serves, or has died."""
        self.death: EngineError | None = None
        self.beat = time.monotonic()
        """When the last step began."""
        self.updating = False
        """Whether a weight update has begun and not ended."""
        self.devices: tuple[str, ...] = ()
        self.thread = threading.Thread(target=self._run, name="vllm", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._start()
            self.started.set()
            while self._admit():
                self._step()
            self._die(EngineError("engine: was closed"))
        except BaseException as error:  # noqa: BLE001 - whatever ends this thread fails every waiter
            self._die(EngineError(f"engine: died ({sentence(error)})"))

    def _start(self) -> None:
        started = time.monotonic()
        self._engine = start_vllm(self._config, self._model_dir, self._seed)
        from env.chat import ChatFormat

        self._chat = ChatFormat.from_pretrained(self._model_dir)
        self._tensors = tensor_shapes(self._model_dir)
        self._weights = WeightUpdate(self._engine, self._model_dir, self._config.gpus_per_engine)
        self.devices = gpu_uuids(self._engine) if self._config.gpus_per_engine else ()
        self.start_seconds = time.monotonic() - started

    def _admit(self) -> bool:
        """Take what waits in the queue, blocking while there is nothing to step; False once closed.

        A weight update at the head, or anything where the engine is to be deterministic, holds everything behind it
        until the running turns are done.
        """
        alone = self._config.deterministic
        while True:
            if self.running and (isinstance(self._head, Load | Transfer) or (alone and (self._head or self._held))):
                return True
            if isinstance(self._head, Load) and self._held and not self.updating:
                self._add_held()
                continue
            if self._head is not None:
                head, self._head = self._head, None
                if isinstance(head, Job):
                    self._held.append(head)
                elif not head.future.done():
                    self._update(head)
            while self._held and not self.updating and not (alone and self.running):
                self._add_held()
            idle = not self.running
            try:
                item = self.queue.get(block=idle)
            except queue.Empty:
                return True
            if idle:
                self.beat = time.monotonic()
            if isinstance(item, Close):
                return False
            if isinstance(item, Abort):
                if self.running.pop(item.id, None) is not None:
                    self._engine.abort_request([item.id])
            else:
                self._head = item

    def _step(self) -> None:
        self.beat = time.monotonic()
        for output in self._engine.step():
            job = self.running.pop(output.request_id, None) if output.finished else None
            if job is not None:
                self._settle(job, output)

    def _add_held(self) -> None:
        job = self._held.popleft()
        if not job.future.done():
            self._add(job)

    def _add(self, job: Job) -> None:
        request = job.request
        try:
            if request.min_version > self.version:
                raise EngineError(f"engine: holds policy version {self.version}, not {request.min_version}")
            if self._config.deterministic:
                forget_states(self._engine)
            names = list(request.frame_ids)
            cached = self._engine.renderer.mm_processor_cache.is_cached(names) if names else []
            sampling = sampling_of(request, self._chat, self._config.max_model_len)
            self._engine.add_request(job.id, prompt_of(request, cached), sampling, lora_request=self._adapter)
        except (EngineError, ValueError) as error:
            refusal = EngineError(f"engine: refused the request ({sentence(error)})")
            _fail(job.future, error if isinstance(error, EngineError) else refusal)
            return
        job.version = self.version
        self.running[job.id] = job
        self.frames_processed += cached.count(False)

    def _settle(self, job: Job, output: Any) -> None:
        try:
            turn = turn_of(job.request, output, self._chat, job.version)
        except EngineError as error:
            _fail(job.future, error)
            return
        _resolve(job.future, turn)

    def _update(self, item: Load | Transfer) -> None:
        """One step of a weight update. One that fails ends the engine: its weights may be neither old nor new, but for
        an adapter, which is loaded beside them."""
        started = self.beat = time.monotonic()
        adapter = isinstance(item, Load) and (Path(item.path) / ADAPTER_CONFIG).exists()
        try:
            if isinstance(item, Load) and adapter:
                self._adapter = load_adapter(self._engine, item.path, self._weight_loads + 1)
            elif isinstance(item, Load):
                require_same_model(item.path, self._tensors)
        except EngineError as error:
            _fail(item.future, error)
            return
        try:
            checked = 0 if adapter else item.run(self._weights)
        except Exception as error:
            # Before the future fails: whoever has heard of it must find the engine dead.
            self.death = EngineError(f"engine: died in a weight update ({sentence(error)})")
            _fail(item.future, self.death)
            raise
        self.updating = self._weights.open
        if isinstance(item, Load) or item.step == "finish":
            self.version = item.version
            self._weight_loads += 1
        _resolve(item.future, WeightReport(self.version, time.monotonic() - started, checked))

    def _die(self, death: EngineError) -> None:
        self.death = death
        self.started.set()
        waiting: list[Work] = [*self.running.values(), *self._held, *([self._head] if self._head else [])]
        self.running.clear()
        while not self.queue.empty():
            item = self.queue.get()
            if isinstance(item, Job | Load | Transfer):
                waiting.append(item)
        for item in waiting:
            _fail(item.future, death)


def gpu_uuids(engine: LLMEngine) -> tuple[str, ...]:
    """UUIDs of the GPUs that an `LLMEngine` computes on."""

    def uuid(worker: Any) -> str:
        import torch

        return str(torch.cuda.get_device_properties(worker.device).uuid)

    return tuple(engine.collective_rpc(uuid))


def _resolve(future: AnyFuture, value: Turn | WeightReport) -> None:
    """Settle a future of an event loop from the engine's thread; one that nobody waits for any more is left."""
    _soon(future, lambda: future.set_result(value))


def _fail(future: AnyFuture, error: EngineError) -> None:
    _soon(future, lambda: future.set_exception(error))


def _soon(future: AnyFuture, settle: Callable[[], None]) -> None:
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(lambda: None if future.done() else settle())
