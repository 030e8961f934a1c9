"""VideoSIAH-Eval of LongVT, open questions about long videos: https://huggingface.co/datasets/longvideotool.

Its rows for reinforcement learning, which verl reads, are read as well.
"""

from collections.abc import Iterator, Mapping

from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import text_of


def videosiah(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    yield Question(
        id=text_of(row, "id", ""),
        source="VideoSIAH-Eval",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=text_of(row, "answer"),
    )


def longvt_rl(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row for reinforcement learning: the last user turn of its prompt."""
    extra = _object(row, "extra_info")
    videos, turns = row.get("videos"), row.get("prompt")
    if not isinstance(videos, list) or len(videos) != 1:
        raise BadRow("has not one video in 'videos'")
    asked = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    last = next((turn for turn in reversed(asked) if turn.get("role") == "user"), {})
    video = videos[0] if isinstance(videos[0], Mapping) else {"video": videos[0]}
    yield Question(
        id=text_of(extra, "index", ""),
        source=text_of(row, "data_source", "LongVT"),
        video=text_of(video, "video").removeprefix("file://"),
        question=text_of(last, "content").replace("<video>", "").strip(),
        answer=text_of(_object(row, "reward_model"), "ground_truth"),
    )


def _object(row: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}
