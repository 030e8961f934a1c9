"""The root of the configuration: one run."""

from dataclasses import dataclass, field, replace

from configs.endpoint import EndpointConfig
from configs.episode import EpisodeConfig
from configs.judge import JudgeConfig
from configs.policy import EngineConfig, ModelConfig, SamplingConfig
from configs.synth import SynthConfig
from configs.training import GrpoConfig, RanksConfig, SftConfig
from configs.world import TeacherConfig, WorldConfig


@dataclass
class EvalConfig:
    """Held-out evaluation, at temperature 0."""

    questions: int = 400
    """Held-out questions asked; 0 asks all."""
    episodes_in_flight: int = 64
    """Episodes played at once by all env runners together; each takes `grpo.episodes_in_flight` at most."""
    every: int = 0
    """Training steps from one look at the held-out questions to the next; 0 asks them before the first step and after
    the last alone. What is found are the metrics `eval_accuracy`, `eval_reward`, `eval_tool_calls` and, where evidence
    is known, `eval_found`; with `grpo.best_metric=eval_accuracy` the best checkpoint is kept by it."""
    questions_during: int = 100
    """Held-out questions, the first of them, that such a look asks."""
    server: EndpointConfig = field(default_factory=EndpointConfig)
    """The model behind an OpenAI-compatible server that `videoseeker eval server` asks."""
    mark_kind: str = "mask_contour"
    """How targets are marked of benchmarks that have them as masks: one of the eight kinds of visual prompt."""


@dataclass
class DifficultyConfig:
    """Which training tasks GRPO is given (paper, section 3.2: the RL set is filtered by pass@k)."""

    attempts: int = 8
    """Times that each task is played, sampled as in GRPO."""
    low: float = 0.0
    """Tasks whose mean accuracy is above this are kept."""
    high: float = 1.0
    """Tasks whose mean accuracy is below this are kept."""


@dataclass
class AblationConfig:
    """What `videoseeker ablate` compares."""

    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """Seeds that every arm is trained with; each has a world of its own."""
    options: list[int] = field(default_factory=lambda: [4, 2])
    """`ablate answers` has an arm on multiple choice for each: the most options of its questions. The fewer there are,
    the more a guess is worth. V2P-Bench, the paper's benchmark, has 4; the examination has the most of these."""
    choice_lessons: float = 0.5
    """`ablate answers`: share of the lessons of the cold start that are multiple choice, so that the policy all arms
    begin with can read options. 0 teaches open questions only."""


@dataclass
class ServeConfig:
    """The deployed agent."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` listens on all."""
    port: int = 8000
    """Port of the page and of every HTTP interface."""
    replicas: int = 1
    """Ray Serve replicas of the agent, each with its own engine."""
    max_ongoing_requests: int = 16
    """Requests one replica answers at once."""
    max_queued_requests: int = 64
    """Requests that wait; past it the server answers 503."""
    request_timeout_s: float = 300.0
    """Deadline of one question, seconds."""
    video_root: str = "."
    """Folder that questions by path may name videos in; anything outside it is refused."""
    max_upload_mib: int = 512
    """Largest video that a question may upload, MiB."""


@dataclass
class TrackingConfig:
    """MLflow."""

    uri: str = "sqlite:///mlflow.db"
    """Tracking store; `http(s)://` for a server."""
    experiment: str = "videoseeker"
    """Name of the experiment that a run's phases are logged in."""
    sample_episodes: int = 4
    """Episodes logged as traces, with their frames, at each checkpoint."""
    rollouts_per_step: int = 64
    """Episodes of each training step, whole groups, that are kept for `videoseeker browse`; 0 keeps none."""
    rollouts_mib: int = 512
    """Most MiB of them; beyond it the oldest steps go."""


@dataclass
class Config:
    """Everything a run needs. A YAML file states only what differs from these defaults."""

    name: str = "run"
    """Name of the run; its files lie in `runs_dir/name`."""
    seed: int = 0
    """Seed of the world, the model's weights, the batches and the sampling."""
    runs_dir: str = "runs"
    """Folder of all runs."""
    data_dir: str | None = None
    """Folder of tasks and videos; None means `runs_dir/name/data`."""
    world: WorldConfig = field(default_factory=WorldConfig)
    synth: SynthConfig = field(default_factory=SynthConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    episode: EpisodeConfig = field(default_factory=EpisodeConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    ranks: RanksConfig = field(default_factory=RanksConfig)
    captions: SftConfig = field(default_factory=lambda: SftConfig(steps=0))
    """Captions before the cold start, which teach the tiny model to see; released weights need none."""
    sft: SftConfig = field(default_factory=SftConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    difficulty: DifficultyConfig = field(default_factory=DifficultyConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def for_grpo(config: Config) -> Config:
    """The config with the parts that GRPO trains in `ranks.train`."""
    if not config.grpo.train:
        return config
    return replace(config, ranks=replace(config.ranks, train=config.grpo.train))
