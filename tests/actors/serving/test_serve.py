"""The agent on a real Ray Serve with a real engine, from the command line to the last process."""

import json
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.serving.serve import ServeError, require_free_port
from configs.run import ServeConfig
from env.task import Task
from tests.servers.processes import Family, family, free_port, wait_for_line

MARK = "rectangle:t=4.5,x=0.2,y=0.3,w=0.3,h=0.3"
ENGINE = """
episode: {prompt_style: compact, prompt_max_frames: 4, prompt_max_pixels: 4096, tool_max_pixels: 9216,
  crop_max_frames: 3, max_tool_rounds: 2, max_turn_tokens: 40, max_tokens: 900}
engine: {max_model_len: 1024, max_num_seqs: 4, max_num_batched_tokens: 1024, kv_cache_gib: 0.05}
"""


def test_a_port_in_use_is_one_sentence_before_anything_starts() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port} of 127.0.0.1 is in use; choose another with serve.port="):
            require_free_port(ServeConfig(port=port))
    require_free_port(ServeConfig(port=port))


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ServeError, match=r"of 192\.0\.2\.1 cannot be listened on"):
        require_free_port(ServeConfig(host="192.0.2.1", port=free_port()))


@pytest.fixture(scope="module")
def processes() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    with family(folder) as members:
        yield members
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def config(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve") / "serve.yaml"
    limits = "max_ongoing_requests: 2, max_queued_requests: 1, max_upload_mib: 1"
    path.write_text(f"{ENGINE}serve: {{video_root: {Path(task.video).parent}, {limits}, port: {free_port()}}}\n")
    return path


@pytest.fixture(scope="module")
def serving(processes: Family, model_dir: Path, config: Path) -> Any:
    process = processes.start("videoseeker.py", "serve", str(model_dir), str(config))
    address = wait_for_line(process, "Ctrl-C").split(" at ")[1].split()[0]
    assert process.stdout is not None
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    drain.start()
    return process, address


@pytest.fixture
def address(serving: Any) -> str:
    return serving[1]


def question(**changes: Any) -> dict[str, Any]:
    return {"video": "video.mp4", "mark": MARK, "question": "What colour is it?", **changes}


@pytest.mark.slow
def test_a_question_is_answered_by_the_engine(address: str) -> None:
    with httpx.stream("POST", f"{address}/v1/ask", json=question(), timeout=120) as response:
        assert response.status_code == 200
        kinds = [json.loads(line)["type"] for line in response.iter_lines()]
    assert kinds[:3] == ["start", "look", "turn"]
    assert kinds[-1] == "answer"


@pytest.mark.slow
def test_the_page_and_the_engines_health_are_served(address: str) -> None:
    assert httpx.get(address, timeout=60).headers["content-type"].startswith("text/html")
    assert httpx.get(f"{address}/healthz", timeout=60).json()["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"json": question(video="/etc/passwd")}, 403),
        ({"json": question(mark="point:t=1")}, 422),
        ({"files": {"video": ("big.mp4", b"\0" * 3_000_000)}}, 413),
    ],
)
def test_refusals_come_through_the_proxy_as_one_sentence(address: str, request_: Any, status: int) -> None:
    response = httpx.post(f"{address}/v1/ask", timeout=60, **request_)
    assert response.status_code == status
    assert list(response.json()) == ["error"]


@pytest.mark.slow
def test_what_is_more_than_running_and_waiting_is_turned_away(address: str) -> None:
    def ask(_: int) -> int:
        return httpx.post(f"{address}/v1/ask?stream=false", json=question(), timeout=120).status_code

    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(ask, range(10)))
    assert set(codes) == {200, 503}
    assert ask(0) == 200


@pytest.mark.slow
def test_a_second_server_on_the_port_ends_at_once(
    processes: Family, serving: Any, model_dir: Path, config: Path
) -> None:
    before = processes.members()
    done = processes.run("videoseeker.py", "serve", str(model_dir), str(config))
    assert done.returncode == 2
    assert "is in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not set(processes.members()) - set(before)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(processes: Family, serving: Any) -> None:
    process, _ = serving
    assert len(processes.members()) > 3
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=90) == 130
    assert processes.gone() == {}


@pytest.mark.process
def test_a_model_that_does_not_fit_is_told_before_anything_starts(
    processes: Family, model_dir: Path, config: Path
) -> None:
    overrides = ("episode.pixel_multiple=28", f"serve.port={free_port()}")
    done = processes.run("videoseeker.py", "serve", str(model_dir), str(config), *overrides)
    assert done.returncode == 2, done.stderr
    assert "videoseeker: episode.pixel_multiple is 28, but" in done.stderr
    assert processes.gone() == {}
