"""The page of a study: what it compares, and on which seeds."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import Config, ConfigError, load_config
from evals.score import score
from recipes.studies.ablations.arms_page import Arm, ArmScores, Study, page
from recipes.studies.ablations.lessons import DATA, TEACHERS, ablate_teacher
from recipes.studies.ablations.phases import STUDY as PHASES
from tests.films.sample_episode import make_episode

STUDY = Study(
    name="phases",
    title="What is worth what",
    lead="All begin alike.",
    arms={"plain": Arm("plain", 60.0), "better": Arm("better", 74.5), "unpublished": Arm("ours")},
    against="plain",
    made_of="episodes",
)


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ArmScores]:
    """An arm of a seed with the accuracies of its questions."""
    episode = dataclasses.replace(make_episode(tmp_path_factory.mktemp("episode")), kind="when")

    def of(seed: int, *right: float) -> ArmScores:
        played = [
            dataclasses.replace(
                episode, task_id=str(i), rewards=dataclasses.replace(episode.rewards, accuracy=each), answer="5.0"
            )
            for i, each in enumerate(right)
        ]
        return ArmScores(seed, score(played), {str(i): each for i, each in enumerate(right)}, made_of=f"{seed}00")

    return of


def test_arms_are_compared_on_the_questions_of_the_seeds_that_both_have(arm: Callable[..., ArmScores]) -> None:
    found = {
        "plain": [arm(0, 0, 0, 0, 0), arm(1, 1, 1, 1, 1)],
        "better": [arm(0, 0, 1, 0, 1)],
        "unpublished": [arm(0, 1, 1, 1, 1), arm(1, 0, 0, 0, 0)],
    }
    text = page(Config(name="mine"), STUDY, found)
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in text.splitlines()[4:]
        if line.startswith("|")
    }
    assert rows["plain"][:3] == ["000, 100", "50.0 ± 70.7", ""]
    made_of, accuracy, against, *_, paper, differs = rows["better"]
    assert (made_of, accuracy, paper, differs) == ("000", "50.0", "74.5", "+14.5")
    assert against.startswith("+50.0 ("), "seed 1, which has no such arm, counts on neither side"
    assert rows["ours"][2].startswith("+0.0 (-75.0 to ")
    assert rows["ours"][-2:] == ["-", "-"]
    assert rows["1"] == ["100.0", "-", "0.0"]
    assert json.loads(text.split("```json\n")[1].split("\n```")[0])["accuracy"]["better"] == [0.5]


def test_arms_with_unlike_questions_are_compared_on_those_that_both_have(arm: Callable[..., ArmScores]) -> None:
    found = {"plain": [arm(0, 0, 0, 1)], "better": [arm(0, 1)], "unpublished": []}
    assert "| better | 000 | 100.0 | +100.0 (" in page(Config(), STUDY, found)


@pytest.mark.parametrize("override", ["teacher.player=model", "synth.source=films", "model.path=qwen"])
def test_teachers_are_compared_where_the_script_teaches_the_tiny_model(override: str) -> None:
    with pytest.raises(ConfigError, match=r"leave teacher\.player, synth\.source and model\.path as they are"):
        ablate_teacher(load_config(None, [override, "teacher.model.model=m"]))


def test_a_page_is_told_from_its_first_arm_on(arm: Callable[..., ArmScores]) -> None:
    text = page(Config(), STUDY, {"plain": [], "better": [arm(0, 1.0)], "unpublished": []})
    assert "| better | 000 | 100.0 | - |" in text, "there is nothing yet to compare with"


@pytest.mark.parametrize("study", [PHASES, DATA, TEACHERS])
def test_a_study_compares_with_one_of_its_arms(study: Study, tmp_path: Path) -> None:
    assert study.against in study.arms
    assert study.arms[study.against].paper is not None
