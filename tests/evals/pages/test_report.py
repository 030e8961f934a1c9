import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from env.trajectory import Trajectory, TurnRecord
from env.turn import ParsedCall, write_turn
from evals.pages.filmstrip import choose, film
from evals.pages.report import headline_arms, lead, write_report
from evals.score import score
from tests.films.sample_episode import make_episode
from tools.decoding.video import read_frame


class Page(HTMLParser):
    """What a browser would load or show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.loads += [url for key in ("src", "href") if (url := attributes.get(key))]
        if tag == "img":
            self.images.append(attributes)

    def handle_data(self, data: str) -> None:
        self.words += data


METRICS = [
    *({"stage": "sft", "step": i, "loss": 3.0 / i} for i in range(1, 21)),
    *(
        {"stage": "grpo", "step": i, "reward": i / 20, "accuracy": i / 25, "kl": float("nan"), "odd": i}
        for i in range(1, 11)
    ),
    {"stage": "grpo", "step": 11, "rang": ["step 11: tool calls fell"]},
]


@pytest.fixture(scope="module")
def episodes(media: Path) -> list[Trajectory]:
    return [make_episode(media), make_episode(media, "square-2", answer=None, accuracy=0.0)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, episodes: list[Trajectory]) -> Page:
    run = tmp_path_factory.mktemp("run")
    (run / "config.yaml").write_text("name: trial\nseed: 7\n")
    arms = [("no_tools", score(episodes[1:])), ("grpo", score(episodes)), ("crop_only", score(episodes[:1]))]
    path = write_report(run, {"name": "trial", "machine": {"cpus": 2}}, METRICS, arms, episodes)
    assert path == run / "report.html"
    assert [file.name for file in sorted(run.iterdir())] == ["config.yaml", "report.html"]
    return Page(path.read_text())


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    assert all(address.startswith("data:image/") for address in page.loads)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_alarms_are_told(page: Page) -> None:
    assert page.words.count("step 11: tool calls fell") == 1


def test_every_frame_of_both_episodes_is_embedded_with_its_true_time(page: Page) -> None:
    shown = [image["alt"] for image in page.images]
    # Of each episode: the mark on top and as returned, 8 frames of the first look, 3 of the crop.
    assert len(shown) == 2 * (2 + 8 + 3)
    assert "Returned in turn 3, 20.12 s" in shown
    assert "Returned in turn 1, 4.5 s" in shown
    assert all(alt.strip() for alt in shown)


def test_embedded_frames_are_the_pixels_that_the_agent_saw(page: Page, episodes: list[Trajectory]) -> None:
    image = next(image for image in page.images if image["alt"] == "Returned in turn 3, 20.12 s")
    png = base64.b64decode(image["src"].partition("base64,")[2])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), read_frame(episodes[0].turns[2].frames[0]))


def test_what_a_model_or_a_person_wrote_is_text_and_never_markup(page: Page) -> None:
    assert "What colour does the marked <shape> have at the end?" in page.words
    assert "shape" not in page.tags


def test_both_endings_are_told(page: Page) -> None:
    assert "✓ red" in page.words
    assert "✗ none (length)" in page.words
    assert "start_time must lie before end_time" in page.words
    assert "the turn holds neither a tool call nor an answer" in page.words


def test_metrics_without_a_chart_of_their_own_are_shown_too_and_nan_is_left_out(page: Page) -> None:
    words = re.sub(r"\s+", " ", page.words)
    assert "Reward and its parts" in words
    assert "odd GRPO · 10" in words
    assert "KL to the reference" not in words


def test_the_config_and_the_figures_are_on_the_page(page: Page) -> None:
    assert "seed: 7" in page.words
    assert "machine.cpus" in page.words


def test_a_run_with_nothing_yet_still_has_a_report(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, {}, [], [], []).read_text())
    assert tmp_path.name in page.words


def test_a_frame_that_is_gone_is_shown_as_missing(media: Path, tmp_path: Path) -> None:
    episode = make_episode(media)
    gone = dataclasses.replace(episode.prompt_frames[0], path=str(tmp_path / "gone.mp4"))
    first = film(dataclasses.replace(episode, prompt_frames=(gone, *episode.prompt_frames[1:]))).first_look[0]
    assert first.source == ""
    assert "cannot be read" in first.alt


def test_the_headline_compares_the_methods_arms_in_its_order(episodes: list[Trajectory]) -> None:
    right, wrong = score(episodes[:1]), score(episodes[1:])
    headline = headline_arms([("crop_only", right), ("grpo", right), ("no_tools", wrong)])
    assert [name for name, _ in headline] == ["no_tools", "grpo"]
    assert lead(headline) == "SFT + GRPO answers 100.0 % of 1 held-out questions right, against 0.0 % (No tools)."
    assert [name for name, _ in headline_arms([("other", right)])] == ["other"]


def test_of_many_episodes_a_right_and_a_wrong_one_are_shown(media: Path) -> None:
    many = [make_episode(media, f"right-{i}") for i in range(3)]
    many.append(make_episode(media, "wrong", answer="blue", accuracy=0.0))
    assert [episode.task_id for episode in choose(many)] == ["right-0", "wrong"]
    assert [episode.task_id for episode in choose(many[:3])] == ["right-0", "right-1"]


def test_the_timeline_places_mark_and_looks_in_the_video(episodes: list[Trajectory]) -> None:
    timeline = film(episodes[0]).timeline
    assert timeline is not None
    assert (timeline.start_s, timeline.end_s) == (0.0, 24.0)
    assert timeline.mark == pytest.approx(100 * 4.5 / 24)
    ((start, width),) = timeline.looks
    assert start == pytest.approx(100 * 20.125 / 24)
    assert width == pytest.approx(100 * 1.0 / 24)


def test_the_timeline_shows_what_had_to_be_seen(episodes: list[Trajectory]) -> None:
    timeline = film(dataclasses.replace(episodes[0], evidence=((12.0, 18.0),))).timeline
    assert timeline is not None
    assert timeline.evidence == ((50.0, 25.0),)
    assert "what is asked for: 12.0 to 18.0 s" in timeline.alt


def test_every_kind_has_a_bar_for_each_arm_and_what_was_found(episodes: list[Trajectory], tmp_path: Path) -> None:
    crop = episodes[0].calls[-1].arguments
    seen = (float(crop["start_time"]), float(crop["end_time"]))
    played = [
        dataclasses.replace(episodes[0], kind="after_return", evidence=(seen,)),
        dataclasses.replace(episodes[1], kind="attribute", evidence=()),
    ]
    arms = [("sft", score(played)), ("grpo", score(played))]
    html = write_report(tmp_path, {"name": "trial"}, [], arms, played).read_text()
    assert html.index("Attribute<small>told") < html.index("After return<small>seeking")
    start = html.index('<table class="kinds">')
    kinds = html[start : html.index("</table>", start)]
    assert kinds.count('class="mini') == 4
    assert kinds.count("100.0") >= 3, "both bars of the right one, and found"


def test_of_right_episodes_the_one_that_looked_on_is_shown(episodes: list[Trajectory]) -> None:
    right = episodes[0]
    before, looked, answered = right.turns[:-2], right.turns[-2], right.turns[-1]
    shown = tuple(dataclasses.replace(frame, time_s=1.5) for frame in looked.frames)
    text = write_turn("Look.", ParsedCall("crop_video", {"start_time": 1.0, "end_time": 2.0}))
    missed = TurnRecord(text, "", shown)
    straight = dataclasses.replace(right, task_id="straight", evidence=((20.0, 21.0),))
    searched = dataclasses.replace(straight, task_id="searched", turns=(*before, missed, looked, answered))
    assert choose([straight, searched, episodes[1]])[0].task_id == "searched"
