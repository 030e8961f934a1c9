"""The one thread that owns vLLM: it admits requests, steps the engine, loads weights.

Invariants:
- Requests and weight updates pass through one queue, in order; an update waits until every running request has
  finished, and requests that come between its steps wait for its end (`_admit`): a turn is sampled by exactly one
  policy version.
- The ids that vLLM saw are the ids that the caller holds, compared on every request (`_turn`).
- A banned id is never sampled: its logit is lowered by `BAN_BIAS`, and the reported logprobs are a log-softmax after
  that, which equals one with the banned logits at minus infinity within float32.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from actors.engine.request import EngineError, GenerationRequest, MissingFrames, WeightReport, sentence, unexpanded
from actors.engine.vllm_setup import (
    ADAPTER_CONFIG,
    BAN_BIAS,
    forget_states,
    load_adapter,
    require_same_model,
    start_vllm,
    tensor_shapes,
)
from actors.engine.weight_update import WeightUpdate
from configs.policy import EngineConfig
from env.transcript import Turn


@dataclass(eq=False)
class Job:
    """A request and the future that its turn resolves."""

    id: str
    request: GenerationRequest
    future: "asyncio.Future[Turn]"
    version: int = -1
    """Policy version that samples it; known once it runs."""


@dataclass(eq=False)
class Load:
    """A weight folder and the future that its load resolves."""

    path: str
    version: int
    future: "asyncio.Future[WeightReport]"
    checksums: Mapping[str, int] | None = None

    def run(self, update: WeightUpdate) -> int:
        """Load; returns the parameters whose checksums were compared."""
        return update.reload(self.path, self.checksums)


@dataclass(eq=False)
class Transfer:
    """A step of vLLM's own weight transfer and the future that it resolves."""

    step: Literal["join", "start", "receive", "finish"]
    arguments: tuple[Any, ...]
    version: int
    """Policy version that the engine holds after the last step."""
    future: "asyncio.Future[WeightReport]"

    def run(self, update: WeightUpdate) -> int:
        """Take the step; returns the parameters whose checksums were compared."""
        return getattr(update, self.step)(*self.arguments) or 0


@dataclass(frozen=True)
class Abort:
    """Nobody waits for this request any more."""

    id: str


class Close:
    """The last item of the queue."""


Item = Job | Load | Transfer


@dataclass
class Counts:
    """Since the start."""

    requests: int = 0
    prompt_tokens: int = 0
    sampled_tokens: int = 0
    frames: int = 0
    """Frames of all prompts."""
    frames_processed: int = 0
    """Of these, frames that were not in the cache and went through the image processor."""
    weight_loads: int = 0
    busy_seconds: float = 0.0
    """Time spent in engine steps."""


class VllmThread:
    """Runs from construction to `Close` or death. Its attributes may be read from any thread."""

    def __init__(self, config: EngineConfig, model_dir: str, version: int, seed: int):
        self._config, self._model_dir, self._seed = config, model_dir, seed
        self.queue: queue.SimpleQueue[Item | Abort | Close] = queue.SimpleQueue()
        self._head: Item | None = None
        self._held: deque[Job] = deque()
        """Requests that came during a weight update."""
        self.running: dict[str, Job] = {}
        self.counts = Counts()
        self._adapter: Any = None
        """The `LoRARequest` of the adapter in use, if any."""
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
        except BaseException as error:  # noqa: BLE001 - whatever ends this thread is told to every waiter
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
        started = self.beat = time.monotonic()
        for output in self._engine.step():
            job = self.running.pop(output.request_id, None) if output.finished else None
            if job is not None:
                self._settle(job, output)
        self.counts.busy_seconds += time.monotonic() - started

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
            self._engine.add_request(job.id, self._prompt(request), self._sampling(request), lora_request=self._adapter)
        except (EngineError, ValueError) as error:
            _resolve(job.future, error=error if isinstance(error, EngineError) else _refusal(error))
            return
        job.version = self.version
        self.running[job.id] = job
        self.counts.requests += 1
        self.counts.prompt_tokens += len(request.ids)
        self.counts.frames += len(request.frames)

    def _prompt(self, request: GenerationRequest) -> dict[str, Any]:
        prompt: dict[str, Any] = {"prompt_token_ids": unexpanded(request.ids, request.media)}
        if request.frames:
            names = list(request.frame_ids)
            cached = self._engine.renderer.mm_processor_cache.is_cached(names)
            if any(frame is None and not hit for hit, frame in zip(cached, request.frames, strict=True)):
                raise MissingFrames("engine: frames were sent without pixels and are not in its cache")
            # Arrays that came through Ray's object store are read-only, which torch warns about: hence the copy.
            frames = [None if hit else np.array(frame) for hit, frame in zip(cached, request.frames, strict=True)]
            self.counts.frames_processed += cached.count(False)
            prompt |= {"multi_modal_data": {"image": frames}, "multi_modal_uuids": {"image": names}}
        return prompt

    def _sampling(self, request: GenerationRequest) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=min(request.max_tokens, self._config.max_model_len - len(request.ids)),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            logprobs=0,
            stop=list(self._chat.stop_strings),
            include_stop_str_in_output=True,
            stop_token_ids=[self._chat.eos_id],
            logit_bias=dict.fromkeys(self._chat.banned_ids, BAN_BIAS),
            spaces_between_special_tokens=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _settle(self, job: Job, output: Any) -> None:
        try:
            turn = self._turn(job, output)
        except EngineError as error:
            _resolve(job.future, error=error)
            return
        self.counts.sampled_tokens += len(turn.ids)
        _resolve(job.future, turn)

    def _turn(self, job: Job, output: Any) -> Turn:
        saw, sent = np.asarray(output.prompt_token_ids), job.request.ids
        if not np.array_equal(saw, sent):
            shared = min(len(saw), len(sent))
            at = int(np.argmax([*(saw[:shared] != sent[:shared]), True]))
            raise EngineError(f"engine: saw {len(saw)} prompt ids, {len(sent)} were sent; they part at index {at}")
        completion = output.outputs[0]
        ids = tuple(int(i) for i in completion.token_ids)
        banned = set(ids).intersection(self._chat.banned_ids)
        if banned:
            raise EngineError(f"engine: sampled the banned ids {sorted(banned)}")
        logprobs = tuple(float(step[i].logprob) for i, step in zip(ids, completion.logprobs, strict=True))
        return Turn(
            ids, logprobs, completion.text, "stop" if completion.finish_reason == "stop" else "length", job.version
        )

    def _update(self, item: Load | Transfer) -> None:
        """One step of a weight update. One that fails ends the engine: its weights may be neither old nor new, but for
        an adapter, which is loaded beside them."""
        started = self.beat = time.monotonic()
        adapter = isinstance(item, Load) and (Path(item.path) / ADAPTER_CONFIG).exists()
        try:
            if isinstance(item, Load) and adapter:
                self._adapter = load_adapter(self._engine, item.path, self.counts.weight_loads + 1)
            elif isinstance(item, Load):
                require_same_model(item.path, self._tensors)
        except EngineError as error:
            _resolve(item.future, error=error)
            return
        try:
            checked = 0 if adapter else item.run(self._weights)
        except Exception as error:
            # Before anyone is told: who has heard of it must find the engine dead.
            self.death = EngineError(f"engine: died in a weight update ({sentence(error)})")
            _resolve(item.future, error=self.death)
            raise
        self.updating = self._weights.open
        if isinstance(item, Load) or item.step == "finish":
            self.version = item.version
            self.counts.weight_loads += 1
        _resolve(item.future, WeightReport(self.version, time.monotonic() - started, checked))

    def _die(self, death: EngineError) -> None:
        self.death = death
        self.started.set()
        waiting: list[Item] = [*self.running.values(), *self._held, *([self._head] if self._head else [])]
        self.running.clear()
        while not self.queue.empty():
            item = self.queue.get()
            if isinstance(item, Job | Load | Transfer):
                waiting.append(item)
        for item in waiting:
            _resolve(item.future, error=death)


def gpu_uuids(engine: Any) -> tuple[str, ...]:
    """UUIDs of the GPUs that an `LLMEngine` computes on."""

    def uuid(worker: Any) -> str:
        import torch

        return str(torch.cuda.get_device_properties(worker.device).uuid)

    return tuple(engine.collective_rpc(uuid))


def _refusal(error: ValueError) -> EngineError:
    return EngineError(f"engine: refused the request ({sentence(error)})")


def _resolve(future: "asyncio.Future[Any]", value: Any = None, error: BaseException | None = None) -> None:
    """Settle a future of an event loop from the engine's thread."""

    def settle() -> None:
        if not future.done():
            future.set_result(value) if error is None else future.set_exception(error)

    loop = future.get_loop()
    soon: Callable[..., Any] = loop.call_soon_threadsafe
    if not loop.is_closed():
        soon(settle)
