"""Where a run's files lie: `runs_dir/name`, with one folder for each arm in it.

Invariant: every output appears whole or not at all, so what exists need not be made again.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from configs import Config, to_yaml
from storage.files import write_text

ARMS: dict[str, tuple[str, ...]] = {
    "no_tools": (),
    "mark": ("view_visual_prompt",),
    "crop": ("crop_video",),
    "both": ("view_visual_prompt", "crop_video"),
}
"""The arms of the tool ablation: which tools are on offer (paper, Table 4)."""


def with_arm(config: Config, arm: str) -> Config:
    """The same run with the tools of an arm."""
    return replace(config, episode=replace(config.episode, tools=list(ARMS[arm])))


def arm_of(config: Config) -> str:
    """Name of the arm whose tools the config offers; the tools' names where they are no arm's."""
    offered = config.episode.tools
    return next((arm for arm, tools in ARMS.items() if set(tools) == set(offered)), "+".join(sorted(offered)))


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run and arm."""

    root: Path
    data: Path
    arm: Path

    @classmethod
    def of(cls, config: Config, make: bool = True) -> "RunFolder":
        """The folder of a config; with `make` made if it is not there, with the resolved config in the arm's own."""
        root = Path(config.runs_dir).absolute() / config.name
        arm = root / arm_of(config)
        if make:
            arm.mkdir(parents=True, exist_ok=True)
            write_text(arm / "config.yaml", to_yaml(config))
        data = Path(config.data_dir).absolute() if config.data_dir else root / "data"
        return cls(root, data, arm)

    @property
    def train(self) -> Path:
        """Training tasks."""
        return self.data / "train.jsonl"

    @property
    def test(self) -> Path:
        """Held-out tasks."""
        return self.data / "test.jsonl"

    @property
    def blank_model(self) -> Path:
        """The tiny model before anything is learned."""
        return self.root / "model"

    @property
    def seeing_model(self) -> Path:
        """The tiny model after the captions; all arms start from it."""
        return self.root / "captions"

    @property
    def teacher(self) -> Path:
        """The teacher's accepted episodes."""
        return self.arm / "teacher.jsonl"

    @property
    def rl(self) -> Path:
        """The training tasks that `videoseeker difficulty` kept for GRPO, if it was run."""
        return self.arm / "rl.jsonl"

    @property
    def sft(self) -> Path:
        """The policy after the cold start."""
        return self.arm / "sft"

    @property
    def checkpoints(self) -> Path:
        """GRPO checkpoints."""
        return self.arm / "checkpoints"

    @property
    def policy(self) -> Path:
        """The policy after GRPO."""
        return self.arm / "policy"

    @property
    def metrics(self) -> Path:
        """One JSON object a step."""
        return self.arm / "metrics.jsonl"

    def episodes(self, name: str) -> Path:
        """Held-out episodes: `sft` and `grpo` are those after the phase, `eval` is the command's."""
        return self.arm / "episodes" / f"{name}.jsonl"
