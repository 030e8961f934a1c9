import logging
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.telemetry.utils import is_telemetry_disabled
from mlflow.tracing.attachments import Attachment
from PIL import Image

from configs.run import TrackingConfig
from recipes.run_log import RunLog
from tests.films.sample_episode import make_episode, write_media
from tools.decoding.video import read_frame


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A finished run on sqlite: (client, run, traces, episode, folder)."""
    folder = tmp_path_factory.mktemp("tracking")
    media = write_media(tmp_path_factory.mktemp("media"))
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db", experiment="trial", sample_episodes=2)
    episode = make_episode(media)
    params = {"seed": 3, "grpo": {"lr": 2e-4, "names": ["a", "b"]}, "long": "x" * 9000} | {
        f"p{i}": i for i in range(120)
    }
    with RunLog(config, "first", params) as run_log:
        for step in range(3):
            metrics: dict[str, Any] = {"reward": step / 2, "count": np.float32(step), "bad": float("nan"), "text": "no"}
            run_log.log(step, metrics)
        run_log.episodes(2, [episode, make_episode(media, "square-2", answer=None, accuracy=0.0), episode])
    client = MlflowClient(config.uri)
    run = client.get_run(run_log.run_id)
    traces = client.search_traces(locations=[run.info.experiment_id])
    return client, run, traces, episode, folder


def test_metrics_come_back_by_step_and_only_finite_numbers(tracked: tuple[Any, ...]) -> None:
    client, run, *_ = tracked
    history = client.get_metric_history(run.info.run_id, "reward")
    assert [(m.step, m.value) for m in history] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert run.data.metrics == {"reward": 1.0, "count": 2.0}


def test_params_are_flat_and_all_there(tracked: tuple[Any, ...]) -> None:
    _, run, *_ = tracked
    params = run.data.params
    assert params["grpo.lr"] == "0.0002"
    assert params["grpo.names"] == "['a', 'b']"
    assert len(params) == 4 + 120
    assert len(params["long"]) == 6000


def test_a_finished_run_has_its_name_status_and_place_for_artifacts(tracked: tuple[Any, ...]) -> None:
    _, run, _, _, folder = tracked
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert str(folder) in run.info.artifact_uri


def test_as_many_episodes_as_asked_for_are_traces_of_the_run(tracked: tuple[Any, ...]) -> None:
    _, run, traces, *_ = tracked
    assert sorted(trace.info.tags["task_id"] for trace in traces) == ["square-1", "square-2"]
    assert {trace.info.trace_metadata["mlflow.sourceRun"] for trace in traces} == {run.info.run_id}


def right(traces: Any) -> Any:
    return next(trace for trace in traces if trace.info.tags["task_id"] == "square-1")


def test_a_trace_is_an_episode_of_turns_of_tool_calls(tracked: tuple[Any, ...]) -> None:
    _, _, traces, episode, _ = tracked
    spans = right(traces).data.spans
    names = {span.span_id: span.name for span in spans}
    tree = {(names.get(span.parent_id), span.name) for span in spans}
    assert tree == {
        (None, "episode square-1"),
        *(("episode square-1", f"turn {i}") for i in (1, 2, 3, 4)),
        ("turn 1", "view_visual_prompt"),
        ("turn 2", "crop_video"),
        ("turn 3", "crop_video"),
    }
    root = next(span for span in spans if span.parent_id is None)
    assert root.inputs["question"] == episode.question
    assert root.outputs == {"answer": "red"}
    assert root.attributes["reward.total"] == pytest.approx(0.97)
    assert (root.end_time_ns - root.start_time_ns) / 1e9 == pytest.approx(episode.seconds)
    failed = next(span for span in spans if span.outputs and span.outputs.get("error"))
    assert failed.status.status_code.value == "ERROR"
    assert failed.inputs == {"start_time": 23.0, "end_time": 20.0}


def test_a_traces_frames_are_the_pixels_that_the_agent_saw(tracked: tuple[Any, ...]) -> None:
    _, _, traces, episode, _ = tracked
    trace = right(traces)
    turn = next(span for span in trace.data.spans if span.name == "turn 3")
    assert list(turn.outputs["frames"]) == ["1: 20.12 s", "2: 20.62 s", "3: 21.12 s"]
    root = next(span for span in trace.data.spans if span.parent_id is None)
    assert len(root.inputs["first look"]) == 8
    reference = Attachment.parse_ref(turn.outputs["frames"]["1: 20.12 s"])
    folder = unquote(urlparse(trace.info.tags["mlflow.artifactLocation"]).path)
    found = [
        os.path.join(at, name)
        for at, _, names in os.walk(folder)
        for name in names
        if reference["attachment_id"] in name
    ]
    assert len(found) == 1
    assert np.array_equal(np.asarray(Image.open(found[0])), read_frame(episode.turns[2].frames[0]))


def test_a_run_that_ends_in_an_exception_is_failed(tracked: tuple[Any, ...]) -> None:
    client, first, _, _, folder = tracked
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db", experiment="trial")
    with pytest.raises(ZeroDivisionError), RunLog(config, "second", {}) as run_log:
        raise ZeroDivisionError
    run = client.get_run(run_log.run_id)
    assert run.info.status == "FAILED"
    assert run.info.experiment_id == first.info.experiment_id


@pytest.mark.parametrize("name", ["runs", "o'neil's clips", 'the "best"', "both ' and \"", "100% \\ ünï", "a'; --"])
def test_a_run_that_goes_on_is_the_same_run(tracked: tuple[Any, ...], tmp_path: Path, name: str) -> None:
    client, *_, folder = tracked
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db", experiment="trial")
    ids = []
    for step, end in ((1, KeyboardInterrupt), (2, None), (3, None)):
        run_log = RunLog(config, "long", {"a": step}, folder=tmp_path / name, resume=step > 1)
        run_log.log(step, {"reward": float(step)})
        run_log.__exit__(end, None, None)
        ids.append(run_log.run_id)
    assert ids[0] == ids[1] != ids[2], "a finished run is not gone on with"
    resumed = client.get_run(ids[0])
    assert (resumed.info.status, resumed.data.params["a"]) == ("FINISHED", "1")
    assert [m.step for m in client.get_metric_history(ids[0], "reward")] == [1, 2]


def test_a_dead_server_costs_one_warning_and_no_exception(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = TrackingConfig(uri=f"http://127.0.0.1:{port}")
    with caplog.at_level(logging.WARNING), RunLog(config, "lost", {"a": 1}, finish_timeout_s=30) as run_log:
        for step in range(5):
            run_log.log(step, {"reward": 1.0})
    warnings = [record.getMessage() for record in caplog.records if record.name == "recipes.run_log"]
    assert len(warnings) == 1
    assert f"http://127.0.0.1:{port}" in warnings[0]
    assert "the run goes on without it" in warnings[0]
    assert run_log.run_id is None


def test_metrics_that_could_not_be_sent_go_with_the_next_ones(
    tracked: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    *_, folder = tracked
    send, failures = MlflowClient.log_batch, [MlflowException("store is away\nfor a while"), OSError("still away")]

    def unreliable(client: Any, run_id: Any, metrics: Any = (), **others: Any) -> Any:
        if metrics and failures:
            raise failures.pop(0)
        return send(client, run_id, metrics=metrics, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", unreliable)
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db", experiment="trial")
    with RunLog(config, "healed", {}) as run_log:
        for step in range(3):
            run_log.log(step, {"reward": step / 4})
            deadline = time.monotonic() + 60
            while len(failures) > max(0, 1 - step) and time.monotonic() < deadline:
                time.sleep(0.01)
    history = MlflowClient(config.uri).get_metric_history(run_log.run_id, "reward")
    assert [(m.step, m.value) for m in history] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    warnings = [record.getMessage() for record in caplog.records if record.name == "recipes.run_log"]
    assert len(warnings) == 1
    assert "store is away; the run goes on without it" in warnings[0]


def test_metrics_of_many_quick_steps_go_together(tracked: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    *_, folder = tracked
    send, sent = MlflowClient.log_batch, []

    def counted(client: Any, run_id: Any, metrics: Any = (), **others: Any) -> Any:
        sent.append(len(metrics))
        return send(client, run_id, metrics=metrics, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    monkeypatch.setattr("recipes.run_log.METRICS_EVERY_S", 60.0)
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db", experiment="trial")
    with RunLog(config, "quick", {}) as run_log:
        for step in range(500):
            run_log.log(step, {"reward": 0.5, "loss": 1.0})
    history = MlflowClient(config.uri).get_metric_history(run_log.run_id, "reward")
    assert [m.step for m in history] == list(range(500))
    assert sum(sent) == 1000
    assert len([size for size in sent if size]) <= 3
    assert run_log.dropped == 0


def test_mlflow_sends_no_usage_statistics() -> None:
    assert is_telemetry_disabled()
