"""What a row of each known data set asks.

Invariant: pure functions of the row, but for the map of video ids that NExT-QA keeps beside its file; a question
is still unchecked, only brought into one shape.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from env.datasets.benchmarks import BENCHMARKS
from env.datasets.choices import split_options
from env.datasets.plain import plain
from env.datasets.question import Question, Reader
from env.datasets.rows import BadRow, SourceError
from env.datasets.values import text_of

MAP_NAME = "map_vid_vidorID.json"
"""Beside NExT-QA's CSV: the path, without suffix, of each video id."""
_MEDIA_TOKEN = re.compile(r"<(?:image|video)>")
_SPEAKERS = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt"}


def format_of(kind: str, path: Path) -> Reader:
    """How rows of a kind are read; `path` is their file.

    Raises:
        SourceError: no such kind, or a map of video ids that cannot be used.
    """
    match kind:
        case "llava_video":
            return _llava_video
        case "nextqa":
            names = _nextqa_map(path.parent / MAP_NAME)
            return lambda row: _nextqa(row, names)
        case "jsonl":
            return lambda row: plain(row, path.stem)
        case _ if kind in _BENCHMARKS:
            return BENCHMARKS[kind].read
    raise SourceError(f"{path}: no kind of source '{kind}'; the kinds are {', '.join(KINDS)}")


_BENCHMARKS = tuple(kind for kind in BENCHMARKS if kind != "plain")
KINDS = ("llava_video", "nextqa", *_BENCHMARKS, "jsonl", "folder")


def recognise(row: Mapping[str, object]) -> str | None:
    """The kind of source whose keys a row has; None if it has those of none."""
    if "conversations" in row:
        return "llava_video"
    if "videoID" in row:
        return "video_mme"
    if {"video", "question"} <= row.keys():
        return "nextqa" if "a0" in row or "qid" in row else "jsonl"
    return next((kind for kind in _BENCHMARKS if BENCHMARKS[kind].keys <= row.keys()), None)


def _llava_video(row: Mapping[str, object]) -> Iterator[Question | BadRow]:
    """LLaVA-Video-178K: https://huggingface.co/datasets/lmms-lab/LLaVA-Video-178K."""
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise BadRow("has no 'conversations'")
    video, own_id, part = text_of(row, "video"), text_of(row, "id", ""), text_of(row, "data_source", "")
    source = f"LLaVA-Video-178K/{part}" if part else "LLaVA-Video-178K"
    pairs = list(_pairs(turns))
    if not pairs:
        raise BadRow("has no question among its 'conversations'")
    for i, (asked, answer) in enumerate(pairs):
        try:
            if answer is None:
                raise BadRow("has a question without an answer")
            question, options = split_options(_MEDIA_TOKEN.sub("", text_of(asked, "value")))
            yield Question(
                f"{own_id}-{i}" if own_id else "", source, video, question, text_of(answer, "value"), options
            )
        except BadRow as bad:
            yield bad
        except ValueError as error:
            yield BadRow(str(error))


def _pairs(turns: list[object]) -> Iterator[tuple[Mapping[str, object], Mapping[str, object] | None]]:
    """Each question's turn with its answer's, None if there is none."""
    said = [(_SPEAKERS.get(str(turn.get("from"))), turn) for turn in turns if isinstance(turn, dict)]
    known = [(speaker, turn) for speaker, turn in said if speaker]
    for (speaker, turn), (next_speaker, reply) in pairwise([*known, ("human", {})]):
        if speaker == "human":
            yield turn, reply if next_speaker == "gpt" else None


def _nextqa(row: Mapping[str, object], names: Mapping[str, str] | None) -> Iterator[Question | BadRow]:
    """NExT-QA, multiple choice and open-ended: https://github.com/doc-doc/NExT-QA."""
    video, number, answer = text_of(row, "video"), text_of(row, "qid", ""), text_of(row, "answer")
    if names is not None and video not in names:
        raise BadRow(f"has a video that {MAP_NAME} does not know")
    columns = sorted(key for key in row if re.fullmatch(r"a\d", key))
    options = tuple(text_of(row, key) for key in columns) or None
    if options:
        if not re.fullmatch(r"\d", answer) or int(answer) >= len(options):
            raise BadRow(f"has an answer that is no index of its {len(options)} options")
        answer = chr(ord("A") + int(answer))
    yield Question(
        id=f"{video}-{number}" if number else "",
        source="NExT-QA/MC" if options else "NExT-QA/OE",
        video=f"{names[video] if names else video}.mp4",
        question=text_of(row, "question"),
        answer=answer,
        options=options,
    )


def _nextqa_map(path: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path}: cannot be read as JSON ({error}); mend it or take it away") from None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise SourceError(f"{path}: is not a JSON object of texts; it should map each video id to its path")
    return names
