"""Where a run's files lie: `runs_dir/name`, with one folder for each arm in it.

Invariant: every output appears whole or not at all, so what exists need not be made again.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from configs import Config, to_yaml
from storage.files import write_text
from storage.locks import lock

ARMS: dict[str, tuple[tuple[str, ...], bool]] = {
    "no_tools": ((), True),
    "mark": (("view_visual_prompt",), True),
    "crop": (("crop_video",), True),
    "crop_unmarked": (("crop_video",), False),
    "both": (("view_visual_prompt", "crop_video"), True),
}
"""The arms of the tool ablation: which tools are on offer (paper, Table 4), and whether the prompt has the marked frame
where the tool that shows it is not among them."""


def with_arm(config: Config, arm: str) -> Config:
    """The same run with the tools of an arm."""
    tools, in_prompt = ARMS[arm]
    return replace(config, episode=replace(config.episode, tools=list(tools), mark_in_prompt=in_prompt))


def arm_of(config: Config) -> str:
    """Name of the arm that the config is of; its tools' names where it is none."""
    offered = set(config.episode.tools), config.episode.mark_in_prompt
    named = "+".join(sorted(config.episode.tools))
    return next((arm for arm, (tools, in_prompt) in ARMS.items() if (set(tools), in_prompt) == offered), named)


class RunFolderError(RuntimeError):
    """A run's folder that cannot be used now; the message is one sentence."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other commands that would write to the same folder or file out of it for the block. Raises RunFolderError
    where one is at it."""
    with ExitStack() as held:
        try:
            held.enter_context(lock(path.with_name(f".{path.name}.lock"), 0.0))
        except TimeoutError:
            raise RunFolderError(f"{path}: another command is at work on it; wait for its end") from None
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written to ({error.strerror})") from None
        yield


class RunFolder:
    """Paths of one run and arm."""

    def __init__(self, root: Path, data: Path, arm: Path) -> None:
        self.root, self.data, self.arm = root, data, arm
        self.train = data / "train.jsonl"
        """Training tasks."""
        self.unseen = data / "rl.jsonl"
        """Tasks for GRPO of videos that SFT never saw, where the data has such."""
        self.test = data / "test.jsonl"
        """Held-out tasks."""
        self.blank_model = root / "model"
        """The tiny model before anything is learned."""
        self.seeing_model = root / "captions"
        """The tiny model after the captions; all arms start from it."""
        self.caption_lessons = root / "caption_lessons"
        """Captions of frames and exercises; see `env.lessons`."""
        self.teacher = arm / "teacher"
        """The teacher's accepted episodes; see `env.lessons`."""
        self.rl = arm / "rl.jsonl"
        """The tasks that `videoseeker difficulty` kept for GRPO, if it was run."""
        self.sft = arm / "sft"
        """The policy after the cold start."""
        self.checkpoints = arm / "checkpoints"
        """GRPO checkpoints."""
        self.policy = arm / "policy"
        """The policy after GRPO."""
        self.rollouts = arm / "rollouts"
        """Episodes of training steps, a file a step; see `recipes.rollouts`."""
        self.metrics = arm / "metrics.jsonl"
        """One JSON object a step."""

    @classmethod
    def of(cls, config: Config, make: bool = True) -> "RunFolder":
        """The folder of a config; with `make` made if it is not there, with the resolved config in the arm's own.
        Raises RunFolderError where it cannot be written to."""
        root = Path(config.runs_dir).absolute() / config.name
        arm = root / arm_of(config)
        if make:
            try:
                arm.mkdir(parents=True, exist_ok=True)
                write_text(arm / "config.yaml", to_yaml(config))
            except OSError as error:
                raise RunFolderError(f"{arm}: cannot be written to ({error.strerror})") from None
        return cls(root, Path(config.data_dir).absolute() if config.data_dir else root / "data", arm)

    @property
    def for_grpo(self) -> Path:
        """The tasks that GRPO may play: those that SFT never saw, where there are such, else those for training."""
        return self.unseen if self.unseen.exists() else self.train

    def episodes(self, name: str) -> Path:
        """Held-out episodes: `sft` and `grpo` are those after the phase, `eval` is the command's."""
        return self.arm / "episodes" / f"{name}.jsonl"
