"""The DeepSpeed ranks as Ray actors, called as one.

Invariant: no call waits for ever. A rank that dies, raises or misses its deadline ends the group with one
`RanksError`; the others, which may hang in a collective, are killed.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from configs.run import Config
from configs.training import LEAST_STAGE, LoraConfig
from env.transcript import Trajectory
from learner import grpo, weights
from learner.rank import Rank

MANIFEST = "ranks.json"


class RanksError(RuntimeError):
    """The group of ranks has ended: a rank died, raised, or missed its deadline."""


class RankGroup:
    """The learner. After a `RanksError` it is closed; start another and `load` a checkpoint."""

    def __init__(
        self, config: Config, model_dir: str, reference_dir: str | None = None, *, max_grad_norm: float | None = None
    ) -> None:
        """Start the ranks and load the model on each.

        Args:
            reference_dir: folder of the reference policy of the KL term; None leaves the term out.
            max_grad_norm: None takes `config.grpo.max_grad_norm`.

        Raises:
            ValueError: settings of the ranks that do not go together.
            RanksError: no room on the cluster, or a rank did not come up.
        """
        _check(config, model_dir, reference_dir)
        self.config = config
        self.version = 0
        """Policy version last published."""
        self._timeout_s = config.ranks.step_timeout_s
        self._ranks: list[Any] = []
        self._group = self._reserve()
        ranks = config.ranks
        norm = config.grpo.max_grad_norm if max_grad_norm is None else max_grad_norm
        for rank in range(ranks.ranks):
            actor = ray.remote(Rank).options(  # type: ignore[attr-defined]
                num_cpus=ranks.cpus_per_rank,
                num_gpus=ranks.gpus_per_rank,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, rank),
                runtime_env={"env_vars": {"OMP_NUM_THREADS": str(ranks.cpus_per_rank)}},
            )
            self._ranks.append(actor.remote(config, str(model_dir), _text(reference_dir), rank, norm))
        host, port = self._wait([self._ranks[0].address.remote()], "start")[0]
        self._all("start", host, port)

    def sft_step(
        self, trajectories: Sequence[Trajectory], lr: float, upcoming: Sequence[Trajectory] = ()
    ) -> dict[str, float]:
        """One supervised update on the trajectories' sampled tokens.

        Args:
            upcoming: what the next step will eat; its frames are decoded meanwhile.

        Returns:
            loss (mean NLL), nll_thought, nll_call, nll_answer, entropy, grad_norm, tokens, seconds.
        """
        return self._metrics(self._all("sft_step", ray.put(list(trajectories)), lr, ray.put(list(upcoming))))

    def grpo_step(self, trajectories: Sequence[Trajectory], advantages: Sequence[float], lr: float) -> dict[str, float]:
        """The updates of one GRPO step, `config.grpo.mini_batches` of them.

        Args:
            trajectories: of one task next to each other, so that mini-batches are cut between groups.
            advantages: one for each trajectory.

        Returns:
            loss, kl, entropy, clip_fraction, ratio, ratio_max, grad_norm, mismatch_kl (0 with mismatch_tokens 0 where
            no token was sampled by version `self.version`), tokens, updates, seconds; and where the config has them
            correction (mean weight), correction_zero and gap_masked (shares of the tokens).
        """
        if len(advantages) != len(trajectories) or not trajectories:
            raise ValueError(f"{len(advantages)} advantages for {len(trajectories)} trajectories")
        args = ray.put(list(trajectories)), list(map(float, advantages)), lr, self.version
        return self._metrics(self._all("grpo_step", *args))

    def reference_kl(self, trajectories: Sequence[Trajectory]) -> list[float]:
        """For each trajectory the estimate of KL(pi_old || pi_ref), nats, summed over its sampled tokens."""
        if not trajectories:
            return []
        found: dict[int, float] = {}
        for part in self._all("reference_kl", ray.put(list(trajectories))):
            found |= part
        return [found[i] for i in range(len(trajectories))]

    def export(self, path: str | Path) -> Path:
        """Write the policy as a Hugging Face folder: weights, config, tokenizer, processor."""
        path = Path(path).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._all("export", str(path))
        return path

    def export_adapter(self, path: str | Path) -> Path:
        """Write the LoRA adapter alone: a folder for `peft.PeftModel.from_pretrained` beside the first weights.

        Raises:
            ValueError: the policy has none.
        """
        if not self.config.ranks.lora.rank:
            raise ValueError("the policy has no adapter to export; ranks.lora.rank is 0")
        path = Path(path).absolute()
        self._all("export_adapter", str(path))
        return path

    def publish(self, engines: Sequence[Any], version: int) -> dict[str, float]:
        """Give the weights to every engine actor as policy version `version`.

        Returns:
            seconds, in all.

        Raises:
            weights.PublishError: engines that failed or missed the deadline, by index; the others have the version.
        """
        started = time.monotonic()
        path = self._all("write_weights", self.config.ranks.weights_dir)[0]
        self.version = version
        try:
            weights.publish(path, engines, version, self._timeout_s)
        finally:
            self._wait([self._ranks[0].remove_weights.remote(path)], "remove_weights")
        return {"seconds": time.monotonic() - started}

    def save(self, folder: str | Path) -> None:
        """Model, optimizer, random state and version, for an exact resume."""
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._all("save", str(folder))
        (folder / MANIFEST).write_text(json.dumps({**self._layout(), "version": self.version}))

    def load(self, folder: str | Path) -> None:
        """The inverse of `save`.

        Raises:
            ValueError: saved with another number of ranks or ZeRO stage.
        """
        folder = Path(folder).absolute()
        manifest = json.loads((folder / MANIFEST).read_text())
        version = manifest.pop("version")
        if manifest != self._layout():
            raise ValueError(f"{folder}: was saved with {manifest}, but the learner runs with {self._layout()}")
        self._all("load", str(folder))
        self.version = version

    def close(self) -> None:
        """End the ranks and give their resources back."""
        for actor in self._ranks:
            ray.kill(actor)
        self._ranks = []
        remove_placement_group(self._group)

    def _layout(self) -> dict[str, Any]:
        ranks = self.config.ranks
        adapter = {"lora_rank": ranks.lora.rank} if ranks.lora.rank else {}
        return {"ranks": ranks.ranks, "zero_stage": ranks.zero_stage, "dtype": ranks.dtype, **adapter}

    def _reserve(self) -> Any:
        ranks = self.config.ranks
        bundle = {"CPU": ranks.cpus_per_rank, **({"GPU": ranks.gpus_per_rank} if ranks.gpus_per_rank else {})}
        group = placement_group([bundle] * ranks.ranks, strategy="PACK")
        if not group.wait(self._timeout_s):
            remove_placement_group(group)
            raise RanksError(f"the cluster had no room for {ranks.ranks} x {bundle} within {self._timeout_s:.0f} s")
        return group

    def _all(self, method: str, *args: Any) -> list[Any]:
        if not self._ranks:
            raise RanksError(f"{method}: the ranks are closed")
        return self._wait([getattr(actor, method).remote(*args) for actor in self._ranks], method)

    def _wait(self, calls: list[Any], method: str) -> list[Any]:
        """Results by rank. The first failure counts: the ranks that wait for a dead one would only time out."""
        deadline = time.monotonic() + self._timeout_s
        waiting = list(calls)
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                late = [calls.index(call) for call in waiting]
                self.close()
                raise RanksError(f"{method}: rank {_join(late)} missed the deadline of {self._timeout_s:.0f} s")
            try:
                ray.get(done[0])
            except ray.exceptions.RayError as error:
                self.close()
                raise RanksError(f"{method}: rank {calls.index(done[0])} {_cause(error)}") from error
        return ray.get(calls)

    def _metrics(self, parts: list[dict[str, float]]) -> dict[str, float]:
        sums = grpo.merge(parts)
        metrics = grpo.means({key: value for key, value in sums.items() if key not in ("updates", "grad_norm")})
        updates = sums["updates"]
        metrics["loss"] /= updates
        metrics["grad_norm"] = sums["grad_norm"] / updates
        metrics["seconds"] = metrics.pop("seconds_max")
        return {**metrics, "updates": updates}


def _check(config: Config, model_dir: str, reference_dir: str | None) -> None:
    """Raises ValueError where the settings of the ranks do not go together."""
    ranks, lora = config.ranks, config.ranks.lora
    least = LEAST_STAGE[ranks.offload]
    if ranks.zero_stage < least:
        raise ValueError(f"ranks.offload={ranks.offload} needs ranks.zero_stage >= {least}, not {ranks.zero_stage}")
    if lora.rank and reference_dir is not None and Path(reference_dir) != Path(model_dir):
        raise ValueError(
            f"with ranks.lora the reference policy is the model without its adapter, {model_dir}; it can't be "
            f"{reference_dir}"
        )
    if config.engine.lora_rank and not 0 < lora.rank <= config.engine.lora_rank:
        raise ValueError(
            f"engine.lora_rank={config.engine.lora_rank} makes the learner publish an adapter, so ranks.lora.rank must "
            f"be 1 to {config.engine.lora_rank}, not {lora.rank}"
        )
    if config.engine.lora_rank and set(lora.targets) - set(LoraConfig().targets):
        raise ValueError(
            "engine.lora_rank takes adapters on the language model alone; leave the other names out of "
            "ranks.lora.targets, or set engine.lora_rank=0 to publish merged weights"
        )


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _join(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))


def _cause(error: Exception) -> str:
    if isinstance(error, ray.exceptions.RayTaskError):
        return f"raised {type(error.cause).__name__}: {error.cause}"
    return f"died ({str(error).splitlines()[0]})"
