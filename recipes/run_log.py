"""MLflow: parameters, metrics, artifacts and sample episodes of a run.

Invariant: training never waits for the tracking store and never ends because of it. Everything is sent from one
thread (`_work`), behind a bounded queue; the first failure is one warning, and metrics that could not be sent
go with the next ones that can.
"""

import io
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from types import TracebackType

# Read by MLflow when it is imported: no usage statistics, and traces are sent by the thread that ends them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")

import mlflow
from mlflow.entities import LiveSpan, Metric, Param, SpanType
from mlflow.tracing.attachments import Attachment
from mlflow.tracing.constant import TraceMetadataKey
from PIL import Image

from configs.run import TrackingConfig
from env.trajectory import REWARD_PARTS, Trajectory
from env.turn_views import CallView, FrameView, TurnView, turn_views
from tools.decoding.video import VideoError, read_frame

_log = logging.getLogger(__name__)

QUEUED_JOBS = 256
"""Most things waiting to be sent; past it new ones are dropped and counted."""
METRICS_EVERY_S = 3.0
"""Least time from one request with metrics to the next: a step may take a tenth of a second, and so does a request."""
METRICS_PER_REQUEST = 1000
PARAMS_PER_REQUEST = 100
"""Limits of MLflow's `log_batch`."""
PARAM_CHARACTERS = 6000
FOLDER_TAG = "folder"
PROMPT_FRAMES = 16
"""Most frames of the first look that a trace shows."""


class RunLog:
    """One MLflow run. A context manager: leaving it ends the run, as failed if by an exception."""

    def __init__(
        self,
        config: TrackingConfig,
        run_name: str,
        params: Mapping[str, object],
        *,
        folder: str | Path | None = None,
        resume: bool = False,
        finish_timeout_s: float = 120.0,
    ) -> None:
        """Start sending. Returns at once; the store is opened in the background.

        Args:
            params: Nested as you like; keys are joined by dots.
            folder: What the run is about on this machine; a tag of the run.
            resume: Go on with the newest unfinished run of this name and folder, if the store has one.
            finish_timeout_s: Most that `finish` waits for what is still to be sent.
        """
        self.run_id: str | None = None
        """Id of the MLflow run; None until the store has answered."""
        self.dropped = 0
        """Jobs that never reached the queue."""
        self._config, self._run_name, self._params = config, run_name, _flatten(params)
        self._tags = {} if folder is None else {FOLDER_TAG: str(Path(folder).absolute())}
        self._resume, self._finish_timeout_s = resume, finish_timeout_s
        self._unsent: list[Metric] = []
        self._due = threading.Event()
        """Whether a job will send what is unsent."""
        self._ending = threading.Event()
        self._warned = self._finished = False
        self._client: mlflow.MlflowClient | None = None
        self._experiment_id = ""
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUED_JOBS)
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()
        self._send(lambda: None)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step; what is not a finite number is left out."""
        now_ms = int(time.time() * 1000)
        rows = [
            Metric(key, float(value), now_ms, step)
            for key, value in metrics.items()
            if isinstance(value, Real) and math.isfinite(value)
        ]
        self._unsent.extend(rows)
        if not self._due.is_set():
            self._due.set()
            self._send(self._log_metrics)

    def tag(self, key: str, value: str) -> None:
        """Send a tag of the run; one that it has is replaced."""
        self._send(lambda: self._store().set_tag(self.run_id, key, value))

    def episodes(self, step: int, trajectories: Sequence[Trajectory]) -> None:
        """Send the first `config.sample_episodes` episodes as traces, with their frames."""
        for trajectory in trajectories[: self._config.sample_episodes]:
            self._send(partial(self._log_episode, step, trajectory))

    def finish(self, status: str = "FINISHED") -> None:
        """Send what is left, for at most `finish_timeout_s`, and end the run: FINISHED, FAILED or KILLED.

        A second call does nothing.
        """
        if self._finished:
            return
        self._finished = True
        self._ending.set()
        deadline = time.monotonic() + self._finish_timeout_s
        for job in (self._log_metrics, lambda: self._store().set_terminated(self.run_id, status), None):
            try:
                self._jobs.put(job, timeout=max(0.0, deadline - time.monotonic()))
            except queue.Full:
                self.dropped += 1
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self.dropped or self._unsent or self._thread.is_alive():
            self._warn(f"part of run '{self._run_name}' was not sent")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.finish("KILLED" if interrupted else "FAILED" if kind else "FINISHED")

    def _send(self, job: Callable[[], None]) -> None:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._store()
                job()
            except Exception as error:  # noqa: BLE001  # whatever the store raises, the run goes on without it
                self._due.clear()
                self._warn(f"{str(error).strip().split(chr(10))[0]}; the run goes on without it")

    def _warn(self, reason: str) -> None:
        if not self._warned:
            _log.warning("MLflow (%s): %s", self._config.uri, reason)
        self._warned = True

    def _store(self) -> mlflow.MlflowClient:
        """The client, with the run open."""
        if self._client is None or self.run_id is None:
            # Traces have no client of their own: they go to the process's tracking URI.
            mlflow.set_tracking_uri(self._config.uri)
            client = mlflow.MlflowClient(self._config.uri)
            self._experiment_id = _experiment(client, self._config)
            self.run_id = self._unfinished_run(client)
            if self.run_id is None:
                made = client.create_run(self._experiment_id, run_name=self._run_name, tags=self._tags)
                self.run_id = made.info.run_id
                for i in range(0, len(self._params), PARAMS_PER_REQUEST):
                    client.log_batch(self.run_id, params=self._params[i : i + PARAMS_PER_REQUEST])
            self._client = client
        return self._client

    def _unfinished_run(self, client: mlflow.MlflowClient) -> str | None:
        """The run to go on with, set running again."""
        if not (self._resume and self._tags):
            return None
        wanted, order = "attributes.status != 'FINISHED'", ["attributes.start_time DESC"]
        runs = partial(client.search_runs, [self._experiment_id], wanted, order_by=order)
        page = runs()
        while True:
            for run in page:  # compared here, since a filter has no way to write both kinds of quotes
                if (run.info.run_name, run.data.tags.get(FOLDER_TAG)) == (self._run_name, self._tags[FOLDER_TAG]):
                    client.update_run(run.info.run_id, status="RUNNING")
                    return str(run.info.run_id)
            if not page.token:
                return None
            page = runs(page_token=page.token)

    def _log_metrics(self) -> None:
        self._due.clear()
        while self._unsent:
            batch = self._unsent[:METRICS_PER_REQUEST]
            self._store().log_batch(self.run_id, metrics=batch)
            del self._unsent[: len(batch)]
        self._ending.wait(METRICS_EVERY_S)  # meanwhile more of them come

    def _log_episode(self, step: int, trajectory: Trajectory) -> None:
        # MLflow swallows what goes wrong with a trace: ask the store first whether it is there.
        self._store().get_run(self.run_id)
        log_episode(trajectory, self._experiment_id, str(self.run_id), step)


def log_episode(trajectory: Trajectory, experiment_id: str, run_id: str, step: int) -> None:
    """Send an episode to the process's tracking URI as a trace: episode, turns, tool calls, with frames attached. The
    durations of the episode and of its tool calls are the measured ones. When a call began is not recorded, so the
    calls lie end to end from the episode's start, and a turn is as long as its calls."""
    end_ns = time.time_ns()
    clock_ns = end_ns - int(trajectory.seconds * 1e9)
    refs = trajectory.prompt_frames
    shown = [FrameView(ref, ref.time_s) for ref in refs[:: max(1, math.ceil(len(refs) / PROMPT_FRAMES))]]
    root = mlflow.start_span_no_context(
        f"episode {trajectory.task_id}",
        span_type=SpanType.AGENT,
        inputs={"question": trajectory.question, "first look": _attachments(shown)},
        attributes={"dimension": trajectory.dimension, "stop": trajectory.stop, "expected": trajectory.expected},
        tags={"task_id": trajectory.task_id, "dimension": trajectory.dimension, "step": str(step)},
        metadata={TraceMetadataKey.SOURCE_RUN: run_id},
        experiment_id=experiment_id,
        start_time_ns=clock_ns,
    )
    for i, view in enumerate(turn_views(trajectory), 1):
        turn = mlflow.start_span_no_context(
            f"turn {i}", span_type=SpanType.LLM, parent_span=root, start_time_ns=clock_ns
        )
        for call in view.calls:
            clock_ns = _log_call(call, turn, clock_ns)
        turn.set_outputs(_turn_outputs(view))
        turn.end(end_time_ns=clock_ns)
    rewards = trajectory.rewards
    root.set_attributes({f"reward.{part}": getattr(rewards, part) for part in REWARD_PARTS})
    root.set_attribute("reward.total", rewards.total)
    root.set_outputs({"answer": trajectory.answer})
    root.end(end_time_ns=end_ns)


def _log_call(call: CallView, parent: LiveSpan, start_ns: int) -> int:
    """One tool call's span; its end, ns."""
    end_ns = start_ns + int((call.record.seconds if call.record else 0.0) * 1e9)
    span = mlflow.start_span_no_context(
        call.name, span_type=SpanType.TOOL, parent_span=parent, inputs=call.arguments, start_time_ns=start_ns
    )
    error = "not executed" if call.record is None else call.record.error
    span.set_outputs({"frames": call.record.frames if call.record else 0, "error": error})
    span.end(status="OK" if call.record and call.record.ok else "ERROR", end_time_ns=end_ns)
    return end_ns


def _turn_outputs(view: TurnView) -> dict[str, object]:
    outputs: dict[str, object] = {"text": view.text}
    if view.error:
        outputs["malformed"] = view.error
    if view.observation or view.frames:
        outputs["observation"] = view.observation
        outputs["frames"] = _attachments(view.frames)
    return outputs


def _attachments(frames: Sequence[FrameView]) -> dict[str, Attachment | str]:
    """Frames by their number and time."""
    times = ["time unknown" if frame.time_s is None else f"{frame.time_s:.2f} s" for frame in frames]
    return {f"{i}: {times[i - 1]}": _attachment(frame) for i, frame in enumerate(frames, 1)}


def _attachment(frame: FrameView) -> Attachment | str:
    try:
        pixels = read_frame(frame.ref)
    except VideoError as error:
        return f"not readable: {error}"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return Attachment(content_type="image/png", content_bytes=buffer.getvalue())


def _experiment(client: mlflow.MlflowClient, config: TrackingConfig) -> str:
    """Id of the experiment, made where it is missing; beside an sqlite file its artifacts lie in `mlruns`."""
    found = client.get_experiment_by_name(config.experiment)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if config.uri.startswith("sqlite:///"):
        folder = Path(config.uri.removeprefix("sqlite:///")).absolute().parent
        location = (folder / "mlruns" / config.experiment).as_uri()
    return str(client.create_experiment(config.experiment, artifact_location=location))


def _flatten(tree: Mapping[str, object], prefix: str = "") -> list[Param]:
    params: list[Param] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            params += _flatten(value, f"{prefix}{key}.")
        else:
            params.append(Param(f"{prefix}{key}", str(value)[:PARAM_CHARACTERS]))
    return params
