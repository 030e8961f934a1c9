"""Files as they are found in the wild, written here byte for byte."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from env.datasets.rows import SourceError
from env.task import Task
from synth.record import Record
from synth.sources.reading import read_source

LETTER_ONLY = "Please respond with only the letter of the correct answer."
LLAVA: list[dict[str, Any]] = [
    {
        "id": "3249402410",
        "data_source": "0_30_s_academic_v0_1",
        "video": "academic_source/NextQA/0000/3249402410.mp4",
        "conversations": [
            {
                "from": "human",
                "value": f"<image>\nWhat does the man in red hold?\nA. A cup\nof tea.\nB. A café menu.\n{LETTER_ONLY}",
            },
            {"from": "gpt", "value": "B."},
            {"from": "human", "value": f"Who waves?\n(A) the girl\n(B) the boy\n{LETTER_ONLY}"},
            {"from": "gpt", "value": "(A) the girl"},
            {"from": "human", "value": "Why does the boy run?\nAnswer the question using a single word or phrase."},
            {"from": "gpt", "value": "To catch the dog."},
        ],
    },
    {
        "id": 7,
        "video": "academic_source/a.mp4",
        "conversations": [
            {"from": "human", "value": "<image>\nPlease describe the video in detail."},
            {"from": "gpt", "value": "A man\nwalks."},
        ],
    },
]
MME = {
    "video_id": "001",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Humanity & History",
    "url": "https://www.youtube.com/watch?v=fFjv93ACGo8",
    "videoID": "fFjv93ACGo8",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "When demonstrating the Germany modern Christmas tree, which one is lit?",
    "options": ["A. Apples.", "B. Candles.", "C. Berries.", "D. The three kinds are of the same number."],
    "answer": "C",
}
NEXTQA = (
    "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\r\n"
    "4010069381,369,640,480,how do the two man play the instrument,0,6,CH,roll the handle,tap,strum,hit,pat\r\n"
    '4010069381,369,640,480,"what does the man, in red,\r\nsay",4,7,DC,a,b,c,d,"""hi"", he says"\r\n'
)


@pytest.fixture
def read() -> Callable[..., tuple[list[Record], list[tuple[str, str]]]]:
    """Reads a source; gives its records, and its bad rows with the place as it stands behind the file's name."""

    def read(path: Path, **kwargs: Any) -> tuple[list[Record], list[tuple[str, str]]]:
        bad: list[tuple[str, str]] = []
        records = list(read_source(path, on_bad=lambda *row: bad.append(row), **kwargs))
        return records, [(where.removeprefix(str(path)), reason) for where, reason in bad]

    return read


def never(where: str, reason: str) -> None:
    raise AssertionError(f"{where} {reason}")


def write(path: Path, content: Any) -> Path:
    """JSON of a list, JSON lines of a tuple, else text or bytes as they are."""
    if isinstance(content, tuple):
        content = "".join(json.dumps(row) + "\n" for row in content)
    elif isinstance(content, list):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def plain(**changes: Any) -> dict[str, Any]:
    return {"video": "a.mp4", "question": "Who waves?", "answer": "Ann", **changes}


def test_llava_video_gives_a_record_for_each_pair_of_turns(tmp_path: Path, read: Callable[..., Any]) -> None:
    records, bad = read(write(tmp_path / "mc.json", LLAVA), licence="Apache-2.0")
    assert not bad
    assert [(r.question, r.options, r.answer) for r in records] == [
        ("What does the man in red hold?", ("A cup of tea.", "A café menu."), "B"),
        ("Who waves?", ("the girl", "the boy"), "A"),
        ("Why does the boy run?", None, "To catch the dog."),
        ("Please describe the video in detail.", None, "A man walks."),
    ]
    assert [r.id.rsplit("-", 1)[0] for r in records] == ["3249402410-0", "3249402410-1", "3249402410-2", "7-0"]
    assert records[0].source == "LLaVA-Video-178K/0_30_s_academic_v0_1"
    assert records[3].source == "LLaVA-Video-178K"
    assert {r.licence for r in records} == {"Apache-2.0"}
    assert records[0].video == "academic_source/NextQA/0000/3249402410.mp4"


@pytest.mark.parametrize("kind", ["auto", "llava_video"])
def test_the_folder_of_llava_video_is_all_its_files_of_questions(
    kind: str, tmp_path: Path, read: Callable[..., Any]
) -> None:
    for part, name in (("0_30_s_academic_v0_1", "0_30_s_academic_mc_v0_1"), ("1_2_m_youtube_v0_1", "1_2_m_youtube_oe")):
        for row in LLAVA:
            video = tmp_path / part / str(row["video"])
            video.parent.mkdir(parents=True, exist_ok=True)
            video.write_bytes(b"film")
        write(tmp_path / part / f"{name}_qa_processed.json", LLAVA[:1] if "academic" in part else LLAVA[1:])
        write(tmp_path / part / f"{part}_cap_processed.json", LLAVA)
    records, bad = read(tmp_path, kind=kind)
    assert not bad
    assert [record.question[:8] for record in records] == ["What doe", "Who wave", "Why does", "Please d"]
    assert records[0].video == str(tmp_path / "0_30_s_academic_v0_1/academic_source/NextQA/0000/3249402410.mp4")
    assert records[3].video == str(tmp_path / "1_2_m_youtube_v0_1/academic_source/a.mp4")


@pytest.mark.parametrize("form", ["parquet", "json", "jsonl"])
def test_video_mme_is_read_from_each_of_its_forms(form: str, tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / f"test.{form}"
    if form == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist([MME]), path)
    else:
        write(path, [MME] if form == "json" else (MME,))
    ((record,), bad) = read(path)
    assert not bad
    assert record.source == "Video-MME/short"
    assert record.video == "fFjv93ACGo8.mp4"
    assert record.options == ("Apples.", "Candles.", "Berries.", "The three kinds are of the same number.")
    assert record.answer == "C"
    assert record.id.startswith("001-1-")


def test_nextqa_s_index_becomes_a_letter_and_its_map_a_path(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = write(tmp_path / "train.csv", NEXTQA.encode("utf-8-sig"))
    records, bad = read(path)
    assert not bad
    assert [(r.video, r.question, r.answer) for r in records] == [
        ("4010069381.mp4", "how do the two man play the instrument", "A"),
        ("4010069381.mp4", "what does the man, in red, say", "E"),
    ]
    assert records[1].options == ("a", "b", "c", "d", '"hi", he says')
    assert records[1].source == "NExT-QA/MC"
    write(tmp_path / "map_vid_vidorID.json", json.dumps({"4010069381": "1164/4010069381"}))
    assert {r.video for r in read(path)[0]} == {"1164/4010069381.mp4"}


def test_the_open_nextqa_has_its_answer_as_text(tmp_path: Path, read: Callable[..., Any]) -> None:
    content = "video,frame_count,width,height,question,answer,qid,type\n1,9,6,4,what is 2 plus 2,four,0,DO\n"
    ((record,), _) = read(write(tmp_path / "val.csv", content))
    assert (record.answer, record.options, record.source) == ("four", None, "NExT-QA/OE")


@pytest.mark.parametrize("as_list", [True, False])
def test_own_rows_may_answer_with_a_letter_or_a_text(as_list: bool, tmp_path: Path, read: Callable[..., Any]) -> None:
    rows = [
        plain(options=["Bob", "Ann"], dimension="OA", source="mine", id="été/1"),
        plain(question="Which?", options=["A) red", "B) blue"], answer="b"),
        plain(question="How many?", options=[1, 2, 3], answer=3),
        plain(question="\u200bWer winkt? 谁\u2028招手", answer="  Ann \n Lee"),
    ]
    records, bad = read(write(tmp_path / "own.json", rows if as_list else tuple(rows)))
    assert not bad
    assert [(r.answer, r.options) for r in records] == [
        ("B", ("Bob", "Ann")),
        ("B", ("red", "blue")),
        ("C", ("1", "2", "3")),
        ("Ann Lee", None),
    ]
    assert (records[0].dimension, records[0].source, records[1].source) == ("OA", "mine", "own")
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", r.id.lstrip("_")) for r in records)


def test_a_folder_gives_its_videos_in_order_and_tells_of_broken_ones(
    tmp_path: Path, read: Callable[..., Any], small_data: tuple[Path, list[Task]]
) -> None:
    film = next((small_data[0] / "videos").iterdir()).read_bytes()
    (tmp_path / "b").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("b/1.mp4", "a.MKV", "z.webm", "b/._1.mp4", ".cache/x.mp4", "b/1.txt"):
        (tmp_path / name).write_bytes(film + name.encode())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    for name in ("c/frames/0.jpg", "c/frames/1.png", "b/cover.jpg", "c/notes/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    records, bad = read(tmp_path)
    assert [r.video for r in records] == [str(tmp_path / name) for name in ("a.MKV", "b/1.mp4", "c/frames", "z.webm")]
    assert {(r.question, r.answer, r.options, r.source) for r in records} == {("", "", None, "footage")}
    assert len({r.id for r in records}) == 4
    assert [where for where, _ in bad] == ["/empty.mp4", "/gone.mp4"]


def test_ids_hang_on_what_is_asked_alone(tmp_path: Path, read: Callable[..., Any]) -> None:
    rows = [plain(id="1"), plain(id="1", question="Who sits?"), plain(video="b.mp4"), plain(id="1", video="c.mp4")]
    ids = {r.video + r.question: r.id for r in read(write(tmp_path / "a.json", rows))[0]}
    assert len(set(ids.values())) == 4
    again, _ = read(write(tmp_path / "b.json", rows[:0:-1]))
    assert all(ids[r.video + r.question] == r.id for r in again)
    (tmp_path / "b.mp4").touch()
    ((moved,), _) = read(write(tmp_path / "c.json", [rows[2]]), video_root=tmp_path)
    assert moved.id == ids["b.mp4Who waves?"]


def test_a_question_asked_twice_comes_once_and_a_contradiction_is_told(
    tmp_path: Path, read: Callable[..., Any]
) -> None:
    rows = [plain(id="1"), plain(id="2", question=" Who  waves? "), plain(id="3", answer="Bob"), plain(video="./a.mp4")]
    records, bad = read(write(tmp_path / "a.json", rows))
    assert [r.id.split("-")[0] for r in records] == ["1"]
    assert bad == [("[2]", "asks what a row before it asks, with another answer")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "?", "answer": "x"}, "has no 'video'"),
        (plain(video=["a.mp4"]), "its 'video' is not text"),
        (plain(question=" \n"), "has no 'question'"),
        (plain(question="\ufeff"), "has an empty question"),
        (plain(answer=None), "has no 'answer'"),
        (plain(answer=True), "its 'answer' is not text"),
        (plain(answer=float("nan")), "has no 'answer'"),
        (plain(question="\ud800"), "its 'question' is not valid Unicode"),
        (plain(options="A, B"), "has no list of 'options'"),
        (plain(options=["Ann"]), "has 1 options; a choice has 2 to 26"),
        (plain(options=[str(i) for i in range(27)]), "has 27 options; a choice has 2 to 26"),
        (plain(options=["Ann", " "]), "has an empty option"),
        (plain(options=["Bob", "Eve"]), "has an answer that is none of its options, or several"),
        (plain(options=["Bob", "Ann"], answer="C"), "has an answer that is none of its options, or several"),
        (plain(options=["Ann", "Ann"], answer="A"), "has its answer twice among its options"),
        (plain(video="/etc/passwd"), "has an absolute video path; it must be relative to the video root"),
        (plain(video="C:\\a.mp4"), "has an absolute video path; it must be relative to the video root"),
        (plain(video="b/../../a.mp4"), "has a video path that climbs out of the video root with '..'"),
        (plain(video="b\\..\\..\\a.mp4"), "has a video path that climbs out of the video root with '..'"),
        (plain(video="."), "has a video path that is none"),
        (plain(video="a\0.mp4"), "has a video path that is none"),
        (plain(video="gone.mp4"), "has a video that is not under the video root"),
        (plain(video="x" * 5000), "has a video that is not under the video root"),
        (["a.mp4"], "is not a JSON object"),
        ({**LLAVA[0], "conversations": []}, "has no 'conversations'"),
    ],
)
def test_a_bad_row_is_told_with_its_place_and_costs_no_other(
    row: dict[str, Any] | list[str], reason: str, tmp_path: Path, read: Callable[..., Any]
) -> None:
    (tmp_path / "a.mp4").touch()
    kind = "llava_video" if "conversations" in row else "jsonl"
    good = {"jsonl": plain(), "llava_video": {**LLAVA[1], "video": "a.mp4"}}[kind]
    path = write(tmp_path / "rows.json", [row, good])
    records, bad = read(path, video_root=tmp_path, kind=kind)
    assert [r.video for r in records] == [str(tmp_path / "a.mp4")]
    assert bad == [("[0]", reason)]


@pytest.mark.parametrize(
    ("asked", "said", "reason"),
    [
        (f"Who?\nA. x\nB. y\n{LETTER_ONLY}", "C.", "has an answer that is none of its options, or several"),
        (f"Who?\nA. x\nB. y\n{LETTER_ONLY}", "A. y", "has an answer that is none of its options, or several"),
        (f"Who?\nA. x\nB. y\nD. z\n{LETTER_ONLY}", "B.", "its options are not lettered from A on without a gap"),
        ("<image>\n", "A man.", "has an empty question"),
        ("Who?", "", "has no 'value'"),
    ],
)
def test_a_bad_pair_of_turns_costs_no_other_pair(
    asked: str, said: str, reason: str, tmp_path: Path, read: Callable[..., Any]
) -> None:
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": said}, *LLAVA[0]["conversations"][2:]]
    turns += [{"from": "human", "value": "And then?"}]
    records, bad = read(write(tmp_path / "mc.json", [{**LLAVA[0], "conversations": turns}]))
    assert [r.answer for r in records] == ["A", "To catch the dog."]
    assert bad == [("[0]", reason), ("[0]", "has a question without an answer")]


def test_json_lines_survive_a_byte_order_mark_bad_bytes_and_a_torn_end(
    tmp_path: Path, read: Callable[..., Any]
) -> None:
    row = json.dumps(plain()).encode()
    latin = json.dumps(plain(question="Qui a été là ?"), ensure_ascii=False).encode("latin-1")
    other = json.dumps(plain(question="Who sits?\u2028"), ensure_ascii=False).encode()
    lines = b"\r\n".join([b"{torn", row, b"", latin, b"[" * 100_000, other, row[:-5]])
    records, bad = read(write(tmp_path / "rows.jsonl", b"\xef\xbb\xbf" + lines))
    assert [r.question for r in records] == ["Who waves?", "Who sits?"]
    unicode = "its 'question' is not valid Unicode"
    assert bad == [(":1", "is not JSON"), (":4", unicode), (":5", "is not JSON"), (":7", "is not JSON")]


def test_a_quote_that_is_never_closed_costs_one_row_of_a_csv(tmp_path: Path, read: Callable[..., Any]) -> None:
    good = [f"{i},9,6,4,what happens,{i % 2},0,DO,x,y" for i in range(2000)]
    broken = '5,9,6,4,"what happens,0,1,DO,x,y'
    lines = ["video,frame_count,width,height,question,answer,qid,type,a0,a1", *good[:10], broken, "1,2", *good[10:]]
    lines += ["9,9,6,4,who,2,8,DO,x,y", "9,9,6,4,who,one,9,DO,x,y"]
    records, bad = read(write(tmp_path / "train.csv", "\n".join(lines)))
    assert [r.video for r in records] == [f"{i}.mp4" for i in range(2000)]
    assert [where for where, _ in bad] == [":12", ":13", ":2004", ":2005"]
    assert bad[1][1] == "has 2 columns where the header has 10"
    assert bad[2][1] == bad[3][1] == "has an answer that is no index of its 2 options"


def test_a_video_that_the_map_does_not_know_is_a_bad_row(tmp_path: Path, read: Callable[..., Any]) -> None:
    write(tmp_path / "map_vid_vidorID.json", json.dumps({"1": "x/1"}))
    content = "video,question,answer,qid\n1,who,Ann,0\n2,who,Ann,0\n"
    records, bad = read(write(tmp_path / "val.csv", content))
    assert [r.video for r in records] == ["x/1.mp4"]
    assert bad == [(":3", "has a video that map_vid_vidorID.json does not know")]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", b"", "is empty"),
        ("a.jsonl", b"\xef\xbb\xbf \n", "is empty"),
        ("a.json", json.dumps(LLAVA)[:-40], "is not JSON .* is it whole"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", "[]", "holds no row"),
        ("a.csv", "video,question,answer,qid\r\n", "holds no row"),
        ("a.csv", '"video,question', "its header is not CSV"),
        ("a.json", b"\x00\x00\x00\x18ftypmp42" * 9, "is binary"),
        ("a.json", json.dumps(LLAVA).encode("utf-16"), "is binary"),
        ("a.parquet", b"PAR1" * 9, "is not readable as Parquet"),
        ("a.txt", "hello", "is of no known form"),
        (
            "a.json",
            [{"image": "a.png", "text": "x"}],
            "is of no known kind, its first row has the keys 'image', 'text'",
        ),
        ("a.json", json.dumps({"data": [plain()]}, indent=1), "is of no known kind, its first row is not JSON"),
        ("a.json", [plain(options=["x", "y"])], r"none of its 1 questions can be used; .*a.json\[0\] has an answer"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_sentence(
    name: str, content: Any, sentence: str, tmp_path: Path, read: Callable[..., Any]
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(SourceError, match=sentence) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_told_at_the_call(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [plain()])
    for wrong, arguments in (
        ("no such file", {"path": tmp_path / "b.json"}),
        ("no such file", {"path": "/dev/zero"}),
        ("no such folder", {"path": path, "kind": "folder"}),
        ("holds no video", {"path": tmp_path}),
        ("is a folder", {"path": tmp_path, "kind": "jsonl"}),
        (r"holds no file '\*_qa_processed.json'", {"path": tmp_path, "kind": "llava_video"}),
        ("no kind of source 'csv'", {"path": path, "kind": "csv"}),
        ("the video root should hold", {"path": path, "video_root": tmp_path / "videos"}),
    ):
        with pytest.raises(SourceError, match=wrong):
            read_source(on_bad=never, **arguments)


def test_a_map_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", NEXTQA)
    for content, wrong in (("{", "cannot be read as JSON"), ('["1"]', "should map each video id")):
        write(tmp_path / "map_vid_vidorID.json", content)
        with pytest.raises(SourceError, match=wrong):
            read_source(path, on_bad=never)


def test_lines_are_read_as_they_are_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", tuple(plain(video=f"{i}.mp4") for i in range(5000)))
    records = read_source(path, on_bad=lambda *torn: None)
    assert next(records).video == "0.mp4"
    path.write_bytes(b"")
    assert sum(1 for _ in records) < 4000


def test_a_film_under_two_names_is_one(tmp_path: Path) -> None:
    for name, content in {
        "a.mp4": b"one",
        "b.mp4": b"two",
        "c.mp4": b"one",
        "d.mkv": b"three",
        "e.mp4": b"one",
    }.items():
        (tmp_path / name).write_bytes(content)
    bad: list[tuple[str, str]] = []
    films = [Path(record.video).name for record in read_source(tmp_path, on_bad=lambda *row: bad.append(row))]
    assert films == ["a.mp4", "b.mp4", "d.mkv"]
    assert bad == [(f"{tmp_path}/{name}.mp4", "is the same film as a.mp4") for name in "ce"]
