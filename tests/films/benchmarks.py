"""Folders in the forms in which benchmarks are published, of films made here; each with the oddities that the published
ones have."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from tests.films import movies
from tools.marks.rle import encode

SRT = "1\n00:00:00,500 --> 00:00:01,200\n<i>red</i> first\n\n2\n00:00:02,000 --> 00:00:03,000\nthen blue\n"


def film(path: Path, pictures: int = 4) -> str:
    """A film of a picture a second, another one for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = sum(path.stem.encode()) % 256
    return movies.write_pictures(path, [movies.picture(first + i, 64, 64) for i in range(pictures)], 1)


def folder_film(folder: Path, pictures: int = 4) -> None:
    """A film that is a folder of pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(pictures):
        Image.fromarray(movies.picture(i, 64, 48)).save(folder / f"{i:05d}.jpg")


def json_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A row on each line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def v2p_bench(folder: Path) -> Path:
    """Three rows, one about two marked pictures, one whose film is `.avi`."""
    film(folder / "videos" / "Set" / "a.mp4")
    film(folder / "videos" / "Set" / "b.avi")
    for name in ("a", "b", "c"):
        path = folder / "frames" / "Set" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(movies.picture(1, 64, 64)).save(path)
    ask = "Select the best option that accurately addresses the question. Give only your option letter, no other words."
    row = {
        "video_id": "a",
        "video_path": "Set/a.mp4",
        "duration": 4,
        "question": f"What does the marked one do?\nA: It runs.\nB: It sits.\n{ask}",
        "answer": "B",
        "source": "Set",
        "frame_path": "Set/a.jpg",
        "dimension": 2,
        "category": 1,
    }
    several = {**row, "frame_path": ["Set/a.jpg", "Set/c.jpg"], "dimension": 14, "duration": 2000}
    avi = {**row, "video_id": "b", "video_path": "Set/b.avi", "frame_path": "Set/b.jpg", "answer": "A", "duration": 300}
    json_lines(folder / "dataset_info.jsonl", [row, several, avi])
    return folder


def video_mme(folder: Path) -> Path:
    """Two rows in Parquet, one film in capitals, one with subtitles."""
    film(folder / "data" / "abc.MP4")
    film(folder / "data" / "def.mp4")
    (folder / "subtitle").mkdir()
    (folder / "subtitle" / "abc.srt").write_text(SRT)
    rows = [
        {
            "video_id": "001",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "History",
            "url": "https://example.org",
            "videoID": name,
            "question_id": f"001-{i}",
            "task_type": "Counting",
            "question": "Which comes first?",
            "options": ["A. Red.", "B. Blue.", "C. Green.", "D. None."],
            "answer": "A",
        }
        for i, name in enumerate(("abc", "def"), 1)
    ]
    (folder / "videomme").mkdir()
    parquet.write_table(pa.Table.from_pylist(rows), folder / "videomme" / "test-00000-of-00001.parquet")
    return folder


def video_mme_tsv(folder: Path) -> Path:
    """The same as VLMEvalKit has it."""
    film(folder / "video" / "abc.mp4")
    keys = "index video video_path duration domain candidates sub_category task_type subtitle_path question answer"
    options = "['A. Red.', \"B. It's blue.\"]"
    row = f"0\tabc\t./video/abc.mp4\tlong\tKnowledge\t{options}\tHistory\tCounting\t./subtitle/abc.srt\tWhich?\tB"
    (folder / "Video-MME.tsv").write_text("\t".join(keys.split()) + f"\n{row}\n")
    return folder


def longvideobench(folder: Path) -> Path:
    """Both schemas of subtitles, a part of a longer film, padded options."""
    film(folder / "videos" / "a.mp4")
    (folder / "subtitles").mkdir()
    clock = [
        {"start": "00:01:40.500", "end": "00:01:41.000", "line": "one"},
        {"start": "00:01:42.000", "end": "00:01:43", "line": "two"},
        {"start": "00:00:02", "end": "00:00:03", "line": "long before"},
    ]
    (folder / "subtitles" / "a_en.json").write_text(json.dumps(clock))
    spans = [{"timestamp": [0.0, 1.5], "text": "one"}, {"timestamp": [2.0, None], "text": "two"}]
    (folder / "subtitles" / "b_en.json").write_text(json.dumps(spans))
    row = {
        "video_id": "a",
        "question": "What is said?",
        "candidates": ["one", "two"],
        "correct_choice": 1,
        "position": [3],
        "level": "L1-Perception",
        "id": "a_0",
        "video_path": "a.mp4",
        "subtitle_path": "a_en.json",
        "duration_group": 15,
        "starting_timestamp_for_subtitles": 100.0,
        "duration": 4.0,
        "question_category": "T2E",
    }
    padded = {key: value for key, value in row.items() if key != "candidates"} | {
        **{"id": "a_1", "subtitle_path": "b_en.json", "starting_timestamp_for_subtitles": 0, "correct_choice": 0},
        **{"option0": "one", "option1": "two", "option2": "three", "option3": "N/A", "option4": "N/A"},
    }
    (folder / "lvb_val.json").write_text(json.dumps([row, padded]))
    return folder


def videosiah(folder: Path) -> Path:
    """Open questions."""
    film(folder / "a.mp4")
    json_lines(folder / "eval.jsonl", [{"video_path": "a.mp4", "question": "What colour is it?", "answer": "red"}])
    return folder


def longvt_rl(folder: Path) -> Path:
    """A row as verl reads it."""
    film(folder / "a.mp4")
    prompt = [{"role": "system", "content": "Think."}, {"role": "user", "content": "<video>What colour is it?"}]
    row = {
        "data_source": "longvt",
        "prompt": prompt,
        "videos": [{"video": "a.mp4"}],
        "reward_model": {"style": "rule", "ground_truth": "red"},
        "extra_info": {"index": 7, "tools_kwargs": {"crop_video": {"create_kwargs": {"dummy": 0}}}},
    }
    parquet.write_table(pa.Table.from_pylist([row]), folder / "train.parquet")
    return folder


def videorefer(folder: Path) -> Path:
    """Folders of pictures, masks, one question about two objects."""
    folder_film(folder / "SET" / "JPEGImages" / "480p" / "dog")
    mask = np.zeros((48, 64), bool)
    mask[10:30, 20:40] = True
    other = np.roll(mask, 15, axis=1)
    row = {
        "id": 0,
        "video": "SET/JPEGImages/480p/dog",
        "Question": "What is <object3><region> not wearing?",
        "type": "Basic Questions",
        "options": ["(A) A hat", "(B) A tie"],
        "Answer": "(A) A hat",
        "frame_idx": "2",
        "annotation": [{"2": {"segmentation": encode(mask)}}],
    }
    both = {
        **row,
        "id": 1,
        "Question": "Is <object0> <region> before <object1><region>?",
        "annotation": [*row["annotation"], {"3": {"segmentation": encode(other)}}],  # type: ignore[misc]
    }
    (folder / "VideoRefer-Bench-Q.json").write_text(json.dumps([row, both]))
    return folder


def inst_it(folder: Path) -> Path:
    """Folders of pictures with marks drawn in; one choice, one open question."""
    folder_film(folder / "videos_vpt" / "v1")
    row = {"question_id": "q1", "question": "What does [1] do?", "video_path": "videos_vpt/v1", "answer": "B"}
    choices = {f"choice_{letter}": text for letter, text in zip("abcd", ("run", "sit", "eat", "cry"), strict=True)}
    json_lines(folder / "bench.jsonl", [row | choices, row | {"question_id": "q2", "answer": "It sits."}])
    return folder


def plain(folder: Path) -> Path:
    """One's own rows."""
    film(folder / "films" / "a.mp4")
    Image.fromarray(movies.picture(1, 64, 64)).save(folder / "films" / "a.png")
    (folder / "films" / "a.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    row = {"video": "a.mp4", "question": "Which?", "answer": "blue", "options": ["red", "blue"]}
    rows = [row, row | {"marked": "a.png", "subtitles": "a.vtt", "question": "Which one?"}]
    json_lines(folder / "mine.jsonl", rows)
    return folder


MAKERS = {
    "V2P-Bench": v2p_bench,
    "Video-MME": video_mme,
    "LongVideoBench": longvideobench,
    "VideoSIAH-Eval": videosiah,
    "LongVT-RL": longvt_rl,
    "VideoRefer-Bench-Q": videorefer,
    "Inst-It-Bench": inst_it,
    "own": plain,
}
"""By the benchmark's name; each fills a folder and returns it."""
