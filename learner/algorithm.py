"""GRPO as an RLlib algorithm: `training_step` is the whole loop.

RLlib is the control plane: configuration, fault-tolerant env runners, metrics, checkpoints, Tune. Its modules,
connectors and learners are not used; the update runs on our DeepSpeed ranks.

Invariant: a checkpoint and the code determine what comes next. Tasks and seeds follow from the numbers in the ledger,
the ranks save model, optimizer and their own random state, and nothing else draws random numbers. It is so bit for bit
with `engine.deterministic` and no staleness; else the last bits of a logprob depend on what the engine samples beside.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from actors.engine.handle import EngineHandle
from actors.engine.supervision import Engines
from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import PlayedGroup
from actors.rollout.players import start_runners, stop_runners
from actors.rollout.runner import RunnersConfig
from configs import Config
from configs.rules import check
from configs.run import for_grpo
from configs.training import GrpoConfig
from env.chat import ChatFormat
from env.task import TaskFile
from learner.activity import Activity, OnActivity, unwatched
from learner.checkpoints.layout import RANKS_FOLDER
from learner.ledger import GroupLedger, LedgerState
from learner.ranks.group import RankGroup
from learner.rollouts import Rollouts
from learner.selection import TrainingBatch, cut_batch, judge_group, rollout_metrics, sift
from learner.training_stopped import TrainingStopped, require_updates
from learner.weights.engines import PublishError


class GrpoState(TypedDict):
    """What a checkpoint holds besides the ranks."""

    version: int
    training_iteration: int
    ledger: LedgerState


class GRPOConfig(RunnersConfig):
    """RLlib's config around ours."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or GRPO)
        self.reference_dir: str | None = None
        self.tasks_file = ""
        self._dont_auto_sync_env_runner_states = True

    def grpo(
        self, *, run: Config, model_dir: str | Path, tasks_file: str | Path, reference_dir: str | Path | None
    ) -> "GRPOConfig":
        """Set what to train: `model_dir`, the Hugging Face folder of the first policy, on the tasks of `tasks_file`,
        JSONL. `reference_dir` is the reference policy of the KL term; None leaves the term out."""
        self.tasks_file = str(tasks_file)
        self.reference_dir = None if reference_dir is None else str(reference_dir)
        return self.runners(run, model_dir)

    def validate(self) -> None:
        """Check both configs; raises ValueError where they cannot work together."""
        super().validate()
        check(self.run, "grpo")
        if self.run.grpo.kl_in == "reward" and self.reference_dir is None:
            raise ValueError("grpo.kl_in=reward needs a reference policy")


def learning_rate(config: GrpoConfig, step: int) -> float:
    """The learning rate of a step, from 0: it rises evenly over `warmup_steps` to `lr`, and falls evenly from there to
    `lr_end_share` of it at the last."""
    warmup = config.warmup_steps
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, config.steps - 1 - warmup))
    return config.lr * (1.0 - done * (1.0 - config.lr_end_share))


class GRPO(Algorithm):
    """Group relative policy optimization (paper, Eq. 8) of a policy that plays episodes with tools."""

    @classmethod
    def get_default_config(cls) -> GRPOConfig:
        return GRPOConfig()

    def setup(self, config: AlgorithmConfig) -> None:
        """Start engines, ranks and env runners. RLlib's own setup would build a module and a learner group."""
        self.callbacks: list[object] = []
        self._set_up_metrics()
        self.evaluation_config = self.config.get_evaluation_config_object()
        self.evaluation_config.freeze()
        run: Config = self.config.run
        ChatFormat.from_pretrained(self.config.model_dir).check(run.episode)
        self.version = 0
        self.groups: list[PlayedGroup] = []
        """The groups of the last step, for logs and replay."""
        self.rebuilds = 0
        """Times that the run went back to a checkpoint, as ranks, engines or env runners had failed."""
        self.on_activity: OnActivity = unwatched
        """Called as each activity of a step begins, and with `between` as it ends."""
        self._seconds: dict[Activity, float] = {}
        if run.engine.colocate:  # vLLM counts what fills its GPU while it starts
            self._start_ranks()
        self.engines = Engines(run.engine, self.config.model_dir, run.seed)
        if not run.engine.colocate:
            self._start_ranks()
        self.env_runner_group = start_runners(self.config)
        self.engines.wait()
        ledger = GroupLedger(TaskFile(self.config.tasks_file), run.seed, run.grpo.group_size)
        self.rollouts = Rollouts(run.grpo, ledger, self.env_runner_group, self.engines, self._publish_to, self._teaches)
        self._first_state = self.get_state()

    def _start_ranks(self) -> None:
        self.ranks = RankGroup(for_grpo(self.config.run), self.config.model_dir, self.config.reference_dir)

    def _teaches(self, group: PlayedGroup) -> bool:
        run: Config = self.config.run
        return judge_group(group, self.version, run.grpo, run.episode.max_tokens) == "teaches"

    def players(self) -> Dispatcher:
        """Give the runners and engines to other episodes than training's, with the present weights, once what training
        plays has ended; they are given back when all of those have. Raises RolloutError where it does not end in time.
        """
        self.rollouts.settle()
        places = self.config.run.eval.episodes_in_flight
        return Dispatcher(self.env_runner_group, self.engines, self._publish_to, places)

    def training_step(self) -> None:
        """Take one GRPO step; checkpoints and evaluation are the caller's."""
        config, max_tokens = self.config.run.grpo, self.config.run.episode.max_tokens
        with self._timed("rollout"):
            self.groups = self.rollouts.gather(self.version)
        # Groups that teach nothing and stale ones are left out; what stays gets group-relative advantages.
        sifted = sift(self.groups, self.version, config, max_tokens)
        with self._timed("score"):
            kl = self.ranks.reference_kl(sifted.trajectories) if config.kl_in == "reward" else None
        self.batch = batch = cut_batch(sifted, self.version, config, max_tokens, kl)
        learned: dict[str, float] = {}
        if batch.trajectories:
            with self._timed("update"):
                lr = learning_rate(config, self.training_iteration)
                learned = self.ranks.grpo_step(batch.trajectories, batch.advantages, lr)
            require_updates(self.training_iteration + 1, learned, config.max_bad_updates, "grpo.max_bad_updates")
        if learned.get("updates"):
            self._require_agreement(learned)
            self.version += 1
            with self._timed("publish"):
                self._publish()
        self._log(batch, learned)

    def _publish(self) -> None:
        """Bring every engine to the present weights; one that cannot take them is restarted once."""
        try:
            self.ranks.publish(self.engines.handles, self.version)
        except PublishError:
            self._publish_to(self.engines.revive(self.version))

    def _publish_to(self, engines: list[EngineHandle]) -> None:
        self.ranks.publish(engines, self.version)

    def _require_agreement(self, learned: dict[str, float]) -> None:
        """Raise TrainingStopped where the engine's and the learner's logprobs of the same tokens differ by too much."""
        gap, limit = learned["mismatch_kl"], self.config.run.grpo.max_mismatch_kl
        if not gap <= limit:
            raise TrainingStopped(
                f"step {self.version + 1}: engine and learner disagree on the logprobs of the same tokens "
                f"(mismatch KL {gap:.2e}, grpo.max_mismatch_kl {limit:.2e}); compare their dtypes and weights"
            )

    @contextmanager
    def _timed(self, activity: Activity) -> Iterator[None]:
        self.on_activity(activity)
        started = time.monotonic()
        yield
        self._seconds[activity] = time.monotonic() - started
        self.on_activity("between")

    def _log(self, batch: TrainingBatch, learned: dict[str, float]) -> None:
        seconds = {"rollout": 0.0, "score": 0.0, "update": 0.0, "publish": 0.0} | self._seconds
        self._seconds = {}
        played = rollout_metrics(self.groups)
        sampled = played["response_tokens"] * sum(len(group.trajectories) for group in self.groups)
        figures = {
            **played,
            **learned,
            **batch.metrics(),
            "version": float(self.version),
            "prompts_tried": float(len(self.groups)),
            "epochs": self.rollouts.ledger.epochs,
            "retried_groups": float(self.rollouts.ledger.retried),
            "given_up_episodes": float(self.rollouts.ledger.given_up),
            "swept_groups": float(self.rollouts.stale),
            "skipped_groups": float(len(self.rollouts.ledger.skipped)),
            "revived_engines": float(self.rollouts.dispatcher.revived),
            "rebuilds": float(self.rebuilds),
            **{f"{activity}_seconds": value for activity, value in seconds.items()},
            "rollout_tokens_per_s": sampled / max(1e-9, seconds["rollout"]),
            "learner_tokens_per_s": learned.get("tokens", 0.0) / max(1e-9, seconds["update"]),
        }
        for name, value in figures.items():
            self.metrics.log_value(("grpo", name), value, reduce="mean", window=1)

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """Do nothing: `Rollouts` takes back what a dead runner held before it uses it again."""
        return []

    def get_state(self, *_: object, **__: object) -> GrpoState:
        """Return the step, and every group that was issued and not yet trained on."""
        return {
            "version": self.version,
            "training_iteration": self.training_iteration,
            "ledger": self.rollouts.ledger.state(),
        }

    def set_state(self, state: GrpoState) -> None:
        """Go back to what `get_state` returned."""
        self.version = state["version"]
        self._iteration = state["training_iteration"]
        self.rollouts.ledger.restore(state["ledger"])

    def get_checkpointable_components(self) -> list[tuple[str, object]]:
        """Return none: the ranks save themselves in `save_to_path`."""
        return []

    def save_to_path(self, path: str | Path | None = None, **kwargs: object) -> str:
        """Write state and ranks; returns the folder."""
        folder: str = super().save_to_path(path, **kwargs)
        self.ranks.save(str(Path(folder) / RANKS_FOLDER))
        return folder

    def start_save(self, path: Path) -> Callable[[], None]:
        """Save as `save_to_path` does, but let the ranks write while the next step runs; see `RankGroup.start_save`."""
        return self.ranks.start_save(Path(super().save_to_path(str(path))) / RANKS_FOLDER)

    def restore_from_path(self, path: str | Path, *_: object, **__: object) -> None:
        """Load what `save_to_path` wrote and bring the engines to it."""
        super(Algorithm, self).restore_from_path(path)
        self.ranks.load(str(Path(path) / RANKS_FOLDER))
        self._publish()

    def rebuild(self, checkpoint: str | Path | None) -> None:
        """Go back to a checkpoint, or with None to the start, once ranks, engines or env runners have failed; which of
        them do not live is started anew. What fails meanwhile raises as it does in a step, and this can be called
        again."""
        self.rebuilds += 1
        # Where the ranks live it was the rollouts that failed, and nothing of them is worth a wait.
        self.rollouts.dispatcher.abandon(0.0 if self.ranks.alive else self.config.run.grpo.rollout_timeout_s)
        if checkpoint is None or not self.ranks.alive:
            self.ranks.close()
            self._start_ranks()
        self.engines.revive(self.version)
        if checkpoint is not None:
            self.restore_from_path(str(checkpoint))
            return
        self.set_state(self._first_state)
        self._publish()

    def cleanup(self) -> None:
        """Stop every actor; also after a setup that failed half way."""
        if hasattr(self, "env_runner_group"):
            stop_runners(self.env_runner_group)
        if hasattr(self, "ranks"):
            self.ranks.close()
        if hasattr(self, "engines"):
            self.engines.close()
