"""The tasks of a run, from which all its other stages begin; and the Ray that makes them.

Invariants: tasks that are there are not made again; nothing of the learner or of an engine is imported.
"""

import logging
import os
import signal
import threading
from typing import Any

import ray

from configs import Config
from recipes.folder import RunFolder
from recipes.progress import stage
from synth.pipeline.resume_settings import require_same
from synth.synthesis import STAGES_FOLDER, synthesise
from synth.world.tasks import make_tasks


def start_ray(config: Config) -> None:
    """Join the cluster this process belongs to, or start one here.

    A laptop's cores are offered several times over: engine, learner and runners take turns on them.
    """
    if ray.is_initialized():
        return
    for name in ("ray.data", "ray.rllib", "ray.tune", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    local: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        ranks = config.ranks.ranks * config.ranks.cpus_per_rank
        local = {"num_cpus": max(os.cpu_count() or 1, ranks + config.grpo.env_runners + 1), "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray takes it for itself, and aborts


def run_synth(config: Config) -> RunFolder:
    """Make tasks, and the procedural world's videos, unless they are there.

    Raises:
        SynthError: what is there was made of another source or with other settings, or data could not be made.
    """
    folder = RunFolder.of(config)
    ended = folder.train.exists()
    if config.synth.source or not ended:
        require_same(config, folder.data / STAGES_FOLDER, ended)
    if not ended:
        start_ray(config)
        if config.synth.source:
            with stage(f"{config.synth.source}: questions, masks and marks"):
                print(synthesise(config, folder.data).summary())
        else:
            with stage("world: videos and questions"):
                make_tasks(config, folder.data)
    return folder
