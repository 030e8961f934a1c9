"""The published benchmarks that can be read, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from env.datasets.inst_it import inst_it
from env.datasets.longvideobench import longvideobench
from env.datasets.longvt import longvt_rl, videosiah
from env.datasets.plain import plain
from env.datasets.question import Reader
from env.datasets.rows import SourceError
from env.datasets.v2p_bench import v2p_bench
from env.datasets.video_mme import video_mme
from env.datasets.videorefer import videorefer


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as it is published."""

    name: str
    """What its authors call it."""
    read: Reader
    keys: frozenset[str]
    """By which its rows are known."""
    files: tuple[str, ...]
    """Its files of questions in its folder, as glob patterns; all files of the first that fits are read."""


def _keys(*names: str) -> frozenset[str]:
    return frozenset(names)


BENCHMARKS: Mapping[str, Benchmark] = {
    "v2p_bench": Benchmark(
        "V2P-Bench",
        v2p_bench,
        _keys("video_path", "frame_path", "question"),
        ("dataset_info.jsonl", "dataset_info*.json*", "*.jsonl", "*.json"),
    ),
    "video_mme": Benchmark(
        "Video-MME",
        video_mme,
        _keys("question", "answer", "task_type", "sub_category"),
        ("**/test-*.parquet", "*.parquet", "Video-MME*.tsv", "*.tsv", "*.json", "*.jsonl"),
    ),
    "longvideobench": Benchmark(
        "LongVideoBench",
        longvideobench,
        _keys("video_path", "correct_choice"),
        ("lvb_val.json", "**/validation-*.parquet", "*.json", "*.parquet"),
    ),
    "videorefer": Benchmark(
        "VideoRefer-Bench-Q",
        videorefer,
        _keys("video", "Question", "Answer"),
        ("VideoRefer-Bench-Q.json", "**/VideoRefer-Bench-Q.json", "*.json"),
    ),
    "inst_it": Benchmark(
        "Inst-It-Bench",
        inst_it,
        _keys("question_id", "video_path", "question"),
        ("*.json*", "*.parquet", "*/*.json*", "*/*.parquet"),
    ),
    "videosiah": Benchmark(
        "VideoSIAH-Eval",
        videosiah,
        _keys("video_path", "question", "answer"),
        ("*.jsonl", "*.json", "*.parquet", "**/*.parquet"),
    ),
    "longvt_rl": Benchmark("LongVT-RL", longvt_rl, _keys("prompt", "videos", "reward_model"), ("*.parquet", "*.json*")),
    "plain": Benchmark("own", plain, _keys("video", "question", "answer"), ("*.jsonl", "*.json", "*.csv", "*.parquet")),
}
"""By kind. A row is of the first whose keys it has."""


def benchmark_of(name: str) -> Benchmark:
    """The benchmark that a person means: `V2P-Bench`, `v2p_bench`, `v2pbench`. Raises SourceError: there is none."""

    def bare(text: str) -> str:
        return "".join(filter(str.isalnum, text.casefold()))

    known = {bare(text): found for kind, found in BENCHMARKS.items() for text in (kind, found.name)}
    if bare(name) not in known:
        names = ", ".join(benchmark.name for benchmark in BENCHMARKS.values())
        raise SourceError(f"no benchmark '{name}'; there are {names}")
    return known[bare(name)]
