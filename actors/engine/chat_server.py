"""A language model that a run serves to itself: vLLM's own server of the OpenAI API, as an actor of the cluster.

Invariant: the server dies with its actor, whichever way that goes; an actor that Ray restarts serves at the same
address, for a placement group holds its node and its port is chosen once.
"""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import ray
from ray.actor import ActorHandle
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.engine.vllm_setup import CPU_ENVIRONMENT, LOCAL_ENVIRONMENT, VLLM_ENVIRONMENT
from actors.errors import EngineError, sentence
from configs.judge import ServedModelConfig

LINES = 200
"""Lines kept of what the server prints."""
AGAIN_S = 2.0
"""From the end of a server to the next, seconds: what it held, a GPU's memory for one, is free by then."""
LOOK_S = 0.5
"""From one look at whether the server is up to the next, seconds."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: which signal a process gets when the one that made it dies."""
_ERROR = re.compile(r"\b\w*[Ee]rror[:,] ")
_LIBC = ctypes.CDLL(None)


class ChatServer:
    """The server, and the process that keeps it. A plain class; `served` makes an actor of it."""

    def __init__(self, config: ServedModelConfig, host: str, port: int) -> None:
        self._config, self._host, self._port = config, host, port
        self._process: subprocess.Popen[str] | None = None
        self._told: deque[str] = deque(maxlen=LINES)

    def start(self) -> str:
        """Start the server, wait until it is up; the address of its API, the version included.

        Raises:
            EngineError: it did not come up within `start_timeout_s`.
        """
        config, url = self._config, f"http://{self._host}:{self._port}"
        local = LOCAL_ENVIRONMENT if Path(config.model).is_dir() else {}
        self._process = subprocess.Popen(
            [*command(config), "--host", self._host, "--port", str(self._port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **VLLM_ENVIRONMENT, **({} if config.gpus else CPU_ENVIRONMENT), **local},
            preexec_fn=_die_with_parent,
        )
        threading.Thread(target=self._pass_on, args=(self._process,), daemon=True).start()
        deadline = time.monotonic() + config.start_timeout_s
        while self._process.poll() is None and time.monotonic() < deadline:
            if _serves(url, config.model):
                return f"{url}/v1"
            time.sleep(LOOK_S)
        if self._process.poll() is not None:
            raise EngineError(f"{config.model}: its server ended while it started ({self._last_words()})")
        self._process.kill()
        raise EngineError(f"{config.model}: its server is not up after {config.start_timeout_s:.0f} s")

    def watch(self) -> None:
        """Return never: when the server ends, or does not come up again, end the actor, for Ray to start it and this
        again."""
        try:
            if self._process is None:
                self.start()
            assert self._process is not None
            self._process.wait()
        except Exception as error:  # noqa: BLE001 - whatever it was, another try may do better
            print(f"not started again: {error}", flush=True)
        time.sleep(AGAIN_S)
        os._exit(1)

    def _pass_on(self, process: "subprocess.Popen[str]") -> None:
        """What the server prints goes to the actor's own log; its end is kept."""
        for line in process.stdout or ():
            self._told.append(line)
            print(line, end="", flush=True)

    def _last_words(self) -> str:
        lines = [line for line in self._told if line.strip()]
        errors = [line for line in lines if _ERROR.search(line)]
        return " ".join((errors or lines or ["it said nothing"])[-1].split())[:300]


def _serves(url: str, model: str) -> bool:
    """Whether a server is up there that has the model."""
    try:
        listed = httpx.get(f"{url}/v1/models", timeout=5).json()
        return any(one["id"] == model for one in listed["data"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


def command(config: ServedModelConfig) -> list[str]:
    """The command line of the server, but for its address."""
    # `vllm serve` of the CPU wheel of 0.32 fails, as it looks for a package named vllm; its module is the same server.
    line = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", config.model, "--served-model-name", config.model, "--generation-config", "vllm"),
        *("--max-model-len", str(config.max_model_len), "--max-num-seqs", str(config.max_num_seqs)),
        # A schema's white space without end would be a reply without end.
        *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
    ]
    if config.gpus:
        return [*line, "--tensor-parallel-size", str(config.gpus)]
    return [
        *line,
        *("--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(round(config.kv_cache_gib * 2**30))),
        # On the CPU a seeded request whose prompt is cut in chunks kills vLLM 0.32.
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", str(config.max_model_len)),
    ]


@contextmanager
def served(config: ServedModelConfig) -> Iterator[str]:
    """Serve a model on the running Ray for the block: the address of its API.

    Raises:
        EngineError: the cluster has no room for it, or it did not come up within `start_timeout_s`.
    """
    resources = {"CPU": 1.0 if config.gpus else 0.001, **({"GPU": float(config.gpus)} if config.gpus else {})}
    group = placement_group([resources])
    try:
        actor, url = _started(config, group, resources)
        watched = actor.watch.options(max_task_retries=-1).remote()
        try:
            yield url
        finally:
            del watched
            if ray.is_initialized():
                ray.kill(actor)
    finally:
        if ray.is_initialized():
            remove_placement_group(group)


def _started(config: ServedModelConfig, group: PlacementGroup, resources: dict[str, float]) -> tuple[ActorHandle, str]:
    """The actor, and the address of its server, which is up."""
    deadline = time.monotonic() + config.start_timeout_s
    there = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
    options = {"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0), "scheduling_strategy": there}
    try:
        ray.get(group.ready(), timeout=config.start_timeout_s)
        place = ray.remote(_free_place).options(num_cpus=0, scheduling_strategy=there)
        host, port = ray.get(place.remote(bool(os.environ.get("RAY_ADDRESS"))), timeout=_left(deadline))
        made = ray.remote(ChatServer).options(**options, max_restarts=-1, max_concurrency=2)
        actor = made.remote(config, host, port)
        return actor, ray.get(actor.start.remote(), timeout=_left(deadline) + LOOK_S)
    except ray.exceptions.GetTimeoutError:
        offered = ray.cluster_resources().get("GPU", 0)
        raise EngineError(
            f"{config.model}: did not start within {config.start_timeout_s:.0f} s on a cluster with {offered:g} GPUs, "
            f"of which it takes {config.gpus}"
        ) from None
    except (ray.exceptions.RayTaskError, ray.exceptions.RayActorError) as error:
        raise EngineError(sentence(error)) from None


def _left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())


def _free_place(on_cluster: bool) -> tuple[str, int]:
    """An address of this node that nobody listens on: on a cluster one that its other nodes reach."""
    host = ray.util.get_node_ip_address() if on_cluster else "127.0.0.1"
    with socket.socket() as listener:
        listener.bind((host, 0))
        return host, listener.getsockname()[1]


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
