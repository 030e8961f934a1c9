"""The agent on Ray Serve: replicas of a web app, each with its own policy engine.

Invariant: `serve` returns with nothing left running, whether it was interrupted, asked to end, or could not start.
"""

import asyncio
import dataclasses
import errno
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable

import ray
from fastapi import FastAPI
from ray import serve as ray_serve

from actors.engine.supervision import PING_S, Engines
from actors.errors import EngineError
from actors.ray_start import start_ray
from actors.rollout.engine_policy import EnginePolicy
from actors.serving.events import Event, episode_events
from actors.serving.web import build_app
from configs import Config
from configs.policy import SamplingConfig
from configs.run import ServeConfig
from env.chat import ChatFormat
from env.task import Task
from storage.files import JsonObject

HEALTH_PERIOD_S = 10.0
"""Seconds between two looks at a replica's health."""
STOP_GRACE_S = 5.0
"""What running requests get to finish when a replica stops, seconds."""


class ServeError(RuntimeError):
    """A server that cannot come up; the message is one sentence."""


class Agent:
    """One replica: a policy engine, and the web app that plays its episodes."""

    def __init__(self, config: Config, model_dir: str) -> None:
        """Start the engine and wait for it. Raises EngineError: it did not come up."""
        self._config = config
        self._chat = ChatFormat.from_pretrained(model_dir)
        self._engines = Engines(dataclasses.replace(config.engine, engines=1), model_dir, config.seed)
        self._info = self._engines.wait()[0]

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """The replica's web app, as Ray Serve asks for it after the constructor."""
        return build_app(self._events, self._health, self._config.serve)

    async def check_health(self) -> None:
        """Ray Serve replaces a replica for which this keeps failing. Raises EngineError: the engine does not answer."""
        await self._health()

    def _events(self, task: Task, timeout_s: float, thumbnails: bool) -> AsyncGenerator[Event]:
        policy = EnginePolicy(
            self._engines.handles[0], SamplingConfig(temperature=0.0), timeout_s=self._config.engine.request_timeout_s
        )
        return episode_events(task, policy, self._chat, self._config.episode, timeout_s, thumbnails)

    async def _health(self) -> JsonObject:
        try:
            info = await asyncio.wait_for(self._engines.handles[0].ready(), PING_S)
        except (TimeoutError, ray.exceptions.RayError) as error:
            raise EngineError(f"engine: does not answer ({type(error).__name__})") from None
        return {
            "model": info.model_dir,
            "max_model_len": info.max_model_len,
            "engine_start_s": self._info.start_seconds,
        }


def application(config: Config, model_dir: str) -> ray_serve.Application:
    """The Ray Serve application of a model folder."""
    deployment = ray_serve.deployment(
        name="agent",
        num_replicas=config.serve.replicas,
        max_ongoing_requests=config.serve.max_ongoing_requests,
        max_queued_requests=config.serve.max_queued_requests,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=2 * PING_S,
        graceful_shutdown_timeout_s=STOP_GRACE_S,
        # The replica itself only waits; its engine reserves what it computes on.
        ray_actor_options={"num_cpus": 0},
    )(ray_serve.ingress()(Agent))
    return deployment.bind(config, model_dir)


def serve(config: Config, model_dir: str, on_ready: Callable[[str], None] = print) -> None:
    """Bring the agent up, call `on_ready` with its address, and serve until SIGINT (Ctrl-C) or SIGTERM.

    Raises:
        ServeError: the port is taken, or the application did not come up.
        ValueError: the model does not fit `config.episode`.
        KeyboardInterrupt: on SIGINT, after everything has been stopped.
    """
    require_free_port(config.serve)
    ChatFormat.from_pretrained(model_dir).check(config.episode)
    previous = signal.getsignal(signal.SIGTERM)
    try:
        start_ray(config)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        _start(config, model_dir)
        on_ready(f"http://{config.serve.host}:{config.serve.port}")
        stop.wait()
    finally:
        ray_serve.shutdown()
        ray.shutdown()
        signal.signal(signal.SIGTERM, previous)


def require_free_port(config: ServeConfig) -> None:
    """Check that the server will be able to listen.

    Raises:
        ServeError: the port is taken, or the address is not this machine's.
    """
    where = f"port {config.port} of {config.host}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServeError(f"{where} is in use; choose another with serve.port=...") from None
        raise ServeError(f"{where} cannot be listened on ({error.strerror}); set serve.host and serve.port") from None


def _start(config: Config, model_dir: str) -> None:
    ray_serve.start(proxy_location="HeadOnly", http_options={"host": config.serve.host, "port": config.serve.port})
    try:
        ray_serve.run(application(config, model_dir), name="videoseeker", route_prefix="/")
    except RuntimeError as error:
        status = ray_serve.status().applications.get("videoseeker")
        deployments = status.deployments.values() if status else ()
        reasons = [deployment.message for deployment in deployments if deployment.message]
        # A traceback's last line says what happened.
        [*_, reason] = (reasons or [str(error)])[0].strip().splitlines()
        raise ServeError(f"the agent did not come up: {reason.strip()}") from None
