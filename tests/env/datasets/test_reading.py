"""Benchmarks in folders as people have them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.world import PROMPT_KINDS
from env.datasets.reading import BenchmarkTasks, read_benchmark
from env.datasets.rows import SourceError
from env.subtitles import read_subtitles
from env.task import load_tasks, save_tasks
from tests.films import benchmarks, movies
from tools.marks.rle import encode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bench").mkdir()
    return tmp_path / "bench"


def of(name: str, folder: Path, **settings: object) -> BenchmarkTasks:
    made = benchmarks.MAKERS[name](folder)
    return read_benchmark(name, made, marks=folder.parent / "marks", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", benchmarks.MAKERS)
def test_every_row_of_a_benchmark_is_a_task_whose_files_are_there(name: str, folder: Path, tmp_path: Path) -> None:
    read = of(name, folder, subtitles=True)
    assert (read.name, read.bad, read.missing) == (name, (), ())
    assert len({task.id for task in read.tasks}) == len(read.tasks) > 0
    for task in read.tasks:
        assert Path(task.video).exists()
        assert all(Path(mark.image).is_file() for mark in task.visual_prompts)
        assert not task.subtitles or Path(task.subtitles).is_file()
        assert (task.form == "choice") == (task.options is not None)
    save_tasks(tmp_path / "tasks.jsonl", read.tasks)
    assert load_tasks(tmp_path / "tasks.jsonl") == list(read.tasks)


def test_v2p_bench_has_marked_pictures_without_a_time_and_classes_of_length(folder: Path) -> None:
    one, two, avi = of("V2P-Bench", folder).tasks
    assert (one.dimension, two.dimension) == ("HA", "GC")
    assert [len(task.visual_prompts) for task in (one, two, avi)] == [1, 2, 1]
    assert all(mark.time_s is None and not mark.kind for mark in two.visual_prompts)
    assert [task.labels["duration"] for task in (one, two, avi)] == ["short", "long", "medium"]
    assert (one.question, one.options, avi.answer) == ("What does the marked one do?", ("It runs.", "It sits."), "A")
    assert one.id.startswith("a-")  # one of two rows of that id
    assert two.id.startswith("a-")
    assert avi.id == "b"


def test_video_mme_marks_nothing_and_has_subtitles_for_some_films(folder: Path) -> None:
    first, second = of("Video-MME", folder, subtitles=True).tasks
    assert first.visual_prompts == ()
    assert (first.id, first.video.endswith("abc.MP4")) == ("001-1", True)
    assert first.labels == {"duration": "short", "domain": "Knowledge", "sub_category": "History"}
    assert first.options == ("Red.", "Blue.", "Green.", "None.")
    assert [line.text for line in read_subtitles(first.subtitles)] == ["red first", "then blue"]
    assert second.subtitles == ""


def test_video_mme_is_read_from_the_table_of_vlmevalkit(folder: Path) -> None:
    [task] = read_benchmark("video_mme", benchmarks.video_mme_tsv(folder)).tasks
    assert (task.options, task.answer, task.labels["duration"]) == (("Red.", "It's blue."), "B", "long")


def test_longvideobench_subtitles_begin_where_the_film_does(folder: Path) -> None:
    part, whole = of("LongVideoBench", folder, subtitles=True).tasks
    lines = read_subtitles(part.subtitles, part.subtitles_from_s)
    assert [(line.start_s, line.end_s, line.text) for line in lines] == [(0.5, 1.0, "one"), (2.0, 3.0, "two")]
    assert [line.end_s for line in read_subtitles(whole.subtitles)] == [1.5, np.inf]
    assert (whole.options, whole.answer, whole.labels) == (
        ("one", "two", "three"),
        "A",
        {"duration": "15", "level": "L1-Perception"},
    )


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_videorefer_masks_are_drawn_as_any_mark(kind: str, folder: Path) -> None:
    one, two = of("VideoRefer-Bench-Q", folder, kind=kind).tasks
    assert one.question == "What is the marked object not wearing?"
    assert two.question == "Is the object marked on frame_1 before the object marked on frame_2?"
    [mark] = one.visual_prompts
    assert (mark.kind, mark.time_s) == (kind, 2.0)
    drawn = np.asarray(Image.open(mark.image)).astype(int)
    bare = np.asarray(Image.open(Path(one.video) / "00002.jpg")).astype(int)
    assert drawn.shape == bare.shape
    assert (np.abs(drawn - bare).max(-1) > 60).sum() > 10
    first, second = two.visual_prompts
    assert [mark.time_s for mark in (first, second)] == [2.0, 3.0]


def test_inst_it_has_its_marks_in_its_pictures(folder: Path) -> None:
    choice, open_one = of("Inst-It-Bench", folder).tasks
    assert (choice.form, choice.answer, choice.visual_prompts) == ("choice", "B", ())
    assert (open_one.form, open_one.answer, open_one.labels["kind"]) == ("open", "It sits.", "open")


def test_a_row_for_reinforcement_learning_asks_its_last_user_turn(folder: Path) -> None:
    [task] = of("LongVT-RL", folder).tasks
    assert (task.id, task.question, task.answer, task.source) == ("7", "What colour is it?", "red", "longvt")


def test_what_is_not_there_is_listed_and_the_rest_is_read(folder: Path) -> None:
    benchmarks.v2p_bench(folder)
    (folder / "videos" / "Set" / "b.avi").unlink()
    (folder / "frames" / "Set" / "c.jpg").unlink()
    read = read_benchmark("v2pbench", folder)
    assert read.files_missing() == ["Set/b.avi", "Set/c.jpg"]
    assert [place.rpartition(":")[2] for place, _ in read.missing] == ["2", "3"]
    assert read.summary() == "V2P-Bench: 1 questions about 1 films can be played, 2 lack a file"


def test_a_row_that_cannot_be_read_is_listed_with_its_line(folder: Path) -> None:
    benchmarks.v2p_bench(folder)
    path = folder / "dataset_info.jsonl"
    good, *_ = path.read_text().splitlines()
    row = json.loads(good)
    bad = [{**row, "answer": "E"}, {**row, "question": "What?\nA: one\nC: two"}, {**row, "video_path": "../a.mp4"}]
    path.write_text("\n".join([good, "{torn", *map(json.dumps, bad)]))
    read = read_benchmark("V2P-Bench", folder)
    assert len(read.tasks) == 1
    assert [(place.rpartition(":")[2], reason) for place, reason in read.bad] == [
        ("2", "is not JSON"),
        ("3", "has an answer that is none of its options, or several"),
        ("4", "its options are not lettered from A on in one style"),
        ("5", "has a video path that climbs out of the video root with '..'"),
    ]


def test_a_download_that_has_not_come_counts_as_missing(folder: Path) -> None:
    benchmarks.v2p_bench(folder)
    (folder / "videos" / "Set" / "b.avi").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "frames" / "Set" / "a.jpg").write_bytes(b"")
    read = read_benchmark("V2P-Bench", folder)
    assert read.files_missing() == ["Set/a.jpg", "Set/b.avi"]
    assert not read.tasks


def test_subtitles_that_are_not_there_are_told(folder: Path) -> None:
    made = benchmarks.video_mme(folder)
    assert (
        read_benchmark("Video-MME", made, subtitles=True).summary().endswith("can be played, 1 without their subtitles")
    )
    without = read_benchmark("Video-MME", made)
    assert not any(task.subtitles for task in without.tasks)
    assert without.without_subtitles == 0, "nobody asked for them"


def test_choices_are_never_shifted(folder: Path) -> None:
    benchmarks.longvideobench(folder)
    listed, padded = json.loads((folder / "lvb_val.json").read_text())
    listed |= {"candidates": ["N/A", "red", "blue"], "correct_choice": 1.0}
    padded |= {"option1": "N/A", "option2": "three", "correct_choice": "2"}
    (folder / "lvb_val.json").write_text(json.dumps([listed, padded]))
    one, two = read_benchmark("LongVideoBench", folder).tasks
    assert (one.options, one.answer) == (("N/A", "red", "blue"), "B")
    assert (two.options, two.answer) == (("one", "N/A", "three"), "C")


def test_files_beside_it_that_are_of_something_else_are_left_alone(folder: Path) -> None:
    benchmarks.inst_it(folder)
    row = {"question_id": "i1", "question": "What is [1]?", "image_path": "a.jpg", "answer": "B"}
    benchmarks.json_lines(folder / "images.jsonl", [row])
    benchmarks.json_lines(folder / "open.jsonl", [row | {"video_path": "videos_vpt/v1", "answer": "A hat."}])
    assert [task.id for task in read_benchmark("Inst-It-Bench", folder).tasks] == ["q1", "q2", "i1"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("V2P-Bench", {"answer": ["B"]}),
        ("V2P-Bench", {"frame_path": [1, None]}),
        ("LongVideoBench", {"correct_choice": "9" * 5000}),
        ("VideoRefer-Bench-Q", {"annotation": [{"9" * 5000: {"segmentation": {"size": [1, 1], "counts": "1"}}}]}),
        ("VideoRefer-Bench-Q", {"annotation": [{"2": {"segmentation": encode(np.eye(1000) > 2)}}]}),
        ("Inst-It-Bench", {"choice_b": None}),
        ("own", {"options": ["x"] * 30}),
    ],
)
def test_an_odd_value_costs_its_row_alone(name: str, changes: dict[str, object], folder: Path) -> None:
    made = benchmarks.MAKERS[name](folder)
    [file] = [path for path in made.iterdir() if path.suffix in (".json", ".jsonl")]
    text = file.read_text()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    benchmarks.json_lines(file, [rows[0] | changes, *rows[1:]])
    read = read_benchmark(name, made, marks=folder.parent / "marks")
    assert (len(read.bad), len(read.tasks)) == (1, len(rows) - 1)


def test_a_mask_that_no_mark_fits_around_costs_its_row_alone(folder: Path) -> None:
    benchmarks.videorefer(folder)
    path = folder / "VideoRefer-Bench-Q.json"
    row, both = json.loads(path.read_text())
    dot = np.zeros((1000, 1000), bool)
    dot[500, 500] = True
    row["annotation"] = [{"2": {"segmentation": encode(dot)}}]
    full = {**row, "annotation": [{"2": {"segmentation": encode(np.ones((48, 64), bool))}}]}
    path.write_text(json.dumps([row, full, both]))
    read = read_benchmark("VideoRefer-Bench-Q", folder)
    assert len(read.tasks) + len(read.bad) == 3
    assert read.tasks[0].question == "What is the marked object not wearing?", "a small mask is enlarged, not lost"
    assert all("has a mask that cannot be marked" in reason for _, reason in read.bad)


def test_masks_that_are_none_cost_their_rows(folder: Path) -> None:
    benchmarks.videorefer(folder)
    path = folder / "VideoRefer-Bench-Q.json"
    row, _ = json.loads(path.read_text())
    broken = [
        {**row, "annotation": []},
        {**row, "annotation": [{"9": row["annotation"][0]["2"]}]},
        {**row, "annotation": [{"2": {"segmentation": {"size": [48, 64], "counts": "~"}}}]},
    ]
    path.write_text(json.dumps([row, *broken]))
    read = read_benchmark("VideoRefer-Bench-Q", folder)
    assert len(read.tasks) == 1
    assert [place for place, _ in read.bad] == [f"{path}[{i}]" for i in (1, 2, 3)]
    assert read.bad[1][1] == "has a mask of picture 9, and its video has 4"


@pytest.mark.parametrize(
    ("name", "made", "why"),
    [
        ("MVBench", "V2P-Bench", "no benchmark 'MVBench'; there are V2P-Bench, Video-MME"),
        ("Video-MME", "V2P-Bench", "is no row of Video-MME: it lacks 'sub_category', 'task_type'"),
        ("VideoRefer-Bench-Q", "Inst-It-Bench", "holds no file of questions of VideoRefer-Bench-Q; looked for"),
    ],
)
def test_another_benchmark_is_told_in_a_sentence(name: str, made: str, why: str, folder: Path) -> None:
    benchmarks.MAKERS[made](folder)
    with pytest.raises(SourceError, match=why):
        read_benchmark(name, folder)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        read_benchmark("V2P-Bench", tmp_path / "none")


def test_rows_that_are_all_alike_have_names_of_their_own(folder: Path) -> None:
    movies.write_pictures(folder / "a.mp4", [movies.picture(0, 64, 64)], 1)
    benchmarks.json_lines(folder / "x.jsonl", [{"video": "a.mp4", "question": "Q?", "answer": "red", "id": "1"}] * 3)
    assert len({task.id for task in read_benchmark("own", folder).tasks}) == 3
