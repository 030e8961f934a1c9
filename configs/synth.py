"""The synthesis from footage: where questions come from and who does each stage."""

from dataclasses import dataclass, field
from typing import Literal

from configs.endpoint import EndpointConfig
from configs.masks import MaskConfig
from configs.mixing import MixingConfig
from configs.world import PROMPT_KINDS

TrainingKind = Literal["llava_video", "nextqa"]
BenchmarkKind = Literal["video_mme", "v2p_bench", "longvideobench", "videorefer", "inst_it", "videosiah", "longvt_rl"]


@dataclass
class SynthConfig:
    """The four stages (paper, section 3.2). Without a `source` the procedural world's tasks are made directly."""

    source: str | None = None
    """File of questions or folder of videos; `world` takes the procedural world through the same stages."""
    source_kind: Literal["auto", "folder", "jsonl", TrainingKind, BenchmarkKind] = "auto"
    """Its format; `auto` recognises it."""
    video_root: str | None = None
    """Folder that a source's videos are named in; None means the source's own."""
    licence: str = ""
    """Licence of the source, for the datasheet."""
    most_records: int = 0
    """Records taken from the source; 0 takes all."""
    test_fraction: float = 0.1
    """Share of the videos whose questions are held out."""
    text_filter: Literal["rules", "model"] = "rules"
    """Who does stage 1: `rules` or `model`."""
    verifier: Literal["model", "world"] = "model"
    """Who does stage 2: `model`, or `world` for the procedural world. Questions made from tracks need none."""
    segmenter: str = "motion"
    """Who does stage 3: `motion` (fixed cameras, no weights), `world`, or a folder or hub id of SAM 3 weights."""
    rewriter: Literal["rules", "model"] = "rules"
    """Who does stage 4's words: `rules` or `model`."""
    prompt_kinds: list[str] = field(default_factory=lambda: list(PROMPT_KINDS))
    """Kinds of visual prompt to choose among."""
    prompt_choice: Literal["uniform", "recommended"] = "uniform"
    """How: `uniform` (the paper's), or `recommended` by stage 2 where it is among them."""
    questions_per_video: int = 6
    """Most questions that are made of one bare video."""
    mixing: MixingConfig = field(default_factory=MixingConfig)
    """Films put together anew from those of a folder."""
    text_model: EndpointConfig = field(default_factory=EndpointConfig)
    """The language model of stages 1 and 4."""
    video_model: EndpointConfig = field(default_factory=EndpointConfig)
    """The vision-language model of stage 2."""
    records_per_shard: int = 64
    """Records that travel through the stages together; the unit that workers share."""
    workers: int = 1
    """Actors of each stage."""
    cpus_per_worker: float = 1.0
    """Cores reserved by an actor of the stages that decode video; the others reserve a tenth."""
    gpus_per_segmenter: float = 0.0
    """Of a GPU, what an actor of stage 3 reserves, 0 to 1: SAM 3 works on it, several to a GPU where it is a fraction.
    0 has it work on the CPU."""
    masks: MaskConfig = field(default_factory=MaskConfig)
    """Looks and gates of stage 3."""
