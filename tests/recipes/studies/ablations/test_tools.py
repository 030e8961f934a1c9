import dataclasses
import json

import numpy as np
import pytest

from configs import Config, ConfigError, load_config
from evals.score import Scores, score
from recipes.studies.ablations.tools import LABELS, Trained, ablate_tools, page
from recipes.studies.demo import summary
from tests.films.sample_episode import make_episode


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scores]:
    episode = dataclasses.replace(make_episode(tmp_path_factory.mktemp("episode")), kind="when")
    wrong = dataclasses.replace(episode, rewards=dataclasses.replace(episode.rewards, accuracy=0.0))
    return {"right": score([episode]), "wrong": score([wrong])}


STEP = {
    "stage": "grpo",
    "updates": 1.0,
    "accuracy": 0.75,
    "mismatch_kl": 3e-8,
    "rollout_tokens_per_s": 100.0,
    "learner_tokens_per_s": 50.0,
}


def trained(seed: int, sft: Scores, grpo: Scores, gained: float = 0.0) -> Trained:
    return Trained(seed, {"sft": sft, "grpo": grpo}, [STEP], np.full(10, gained), (0.25, {"when": 0.125}))


def test_the_page_has_a_row_for_every_arm_and_means_over_seeds(scores: dict[str, Scores]) -> None:
    right, wrong = scores["right"], scores["wrong"]
    runs = [trained(0, wrong, right, 1.0), trained(1, wrong, right, 1.0), trained(2, wrong, wrong)]
    text = page(Config(name="demo"), dict.fromkeys(LABELS, runs))
    assert text.count("| 3 | 0.0 ± 0.0 | 66.7 ± 57.7 | 66.7 ± 57.7 | - |") == len(LABELS)
    assert "3.0e-08" in text
    machine = json.loads(text.split("```json\n")[1].split("\n```")[0])
    assert machine["accuracy"]["both"]["grpo"] == [1.0, 1.0, 0.0]
    assert "+0.0 points over crop only (+0.0 on those that seek)" in text
    assert "+66.7 points over SFT alone." in text
    assert "GRPO adds +66.7 points on the same questions, 95 % interval +" in text
    assert "(30 questions of 3 seeds)" in text
    assert "| 0 | 25.0 | 100.0 | 0.0 | 100.0 | 100.0 | 0.0 | 100.0 | 75.0 |" in text
    assert "| `when` | 3 | 12.5 | 66.7 | 66.7 | 66.7 | 66.7 | 0.0 | 66.7 |" in text
    assert "What one run costs" not in text


def test_an_arm_is_compared_on_the_seeds_that_it_has(scores: dict[str, Scores]) -> None:
    right, wrong = scores["right"], scores["wrong"]
    found = {"both": [trained(0, wrong, right), trained(1, wrong, wrong)], "no_tools": [trained(0, wrong, wrong)]}
    text = page(Config(name="demo"), {arm: found.get(arm, []) for arm in LABELS})
    assert "+100.0 points over no tools" in text
    assert "over crop only" not in text
    assert "| 1 | 25.0 | - | 0.0 | 0.0 |" in text


def test_the_page_tells_the_demo_s_cost_where_it_was_run(scores: dict[str, Scores]) -> None:
    speed = {"rollout": 1445.2, "learner": 5000.0}
    phases = {"both: sft": 40.4, "both: grpo": 30.0}
    demo = {"seed": 3, "wall_s": 90, "peak_rss_gib": 6.41, "tokens_per_s": speed, "seconds_by_phase": phases}
    text = page(Config(name="demo"), {arm: [trained(3, scores["right"], scores["right"])] for arm in LABELS}, demo)
    assert "seed 3" in text
    assert "1.5 minutes after the install, at most 6.4 GiB" in text
    assert "1,445 tokens a second sampled" in text


def test_the_report_s_figures_come_from_scores_and_steps(scores: dict[str, Scores]) -> None:
    found = {"no_tools": scores["wrong"], "sft": scores["wrong"], "grpo": scores["right"]}
    skipped = {"stage": "grpo", "mismatch_kl": 1.0, "updates": 0.0}
    report = summary(found, [STEP, skipped, {"stage": "sft", "loss": 1.0}])
    assert report["accuracy"] == {"no_tools": 0.0, "sft": 0.0, "grpo": 1.0}
    assert report["mismatch_kl_max"] == 3e-8
    assert report["accuracy_train"] == 0.75
    assert (report["accuracy_seek"]["grpo"], report["accuracy_told"]["grpo"], report["found"]) == (1.0, None, {})
    assert report["tokens_per_s"] == {"rollout": 100.0, "learner": 50.0}
    assert set(report["tool_calls_per_episode"]) == {"sft", "grpo"}


def test_arms_that_cannot_be_trained_are_refused_before_the_first_is() -> None:
    with pytest.raises(ConfigError, match="exercises alone teach nothing without crop_video"):
        ablate_tools(load_config(None, ["sft.curriculum=[{steps: 60, lessons: {exercise: 1}}]"]))
