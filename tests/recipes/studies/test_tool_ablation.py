import dataclasses
import json

import pytest

from configs import Config
from evals.score import Scores, score
from recipes.folder import ARMS
from recipes.studies.demo import summary
from recipes.studies.tool_ablation import page
from tests.films.sample_episode import make_episode


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scores]:
    episode = make_episode(tmp_path_factory.mktemp("episode"))
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


def test_the_page_has_a_row_for_every_arm_and_means_over_seeds(scores: dict[str, Scores]) -> None:
    stages = {"sft": [scores["wrong"]] * 3, "grpo": [scores["right"], scores["right"], scores["wrong"]]}
    text = page(Config(name="demo"), dict.fromkeys(ARMS, stages), [STEP])
    assert text.count("| 0.0 ± 0.0 | 66.7 ± 57.7 |") == len(ARMS)
    assert "3.0e-08" in text
    machine = json.loads(text.split("```json\n")[1].split("\n```")[0])
    assert machine["accuracy"]["both"]["grpo"] == [1.0, 1.0, 0.0]
    assert "+0.0 points over crop only, +66.7 points over SFT alone." in text
    assert "What one run costs" not in text


def test_the_page_tells_the_demo_s_cost_where_it_was_run(scores: dict[str, Scores]) -> None:
    stages = {stage: [scores["right"]] for stage in ("sft", "grpo")}
    demo = {"seed": 3, "wall_s": 90, "peak_rss_gib": 6.41, "tokens_per_s": {"rollout": 1445.2, "learner": 5000.0}}
    text = page(Config(name="demo"), dict.fromkeys(ARMS, stages), [STEP], demo)
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
    assert (report["accuracy_seek"]["grpo"], report["found"]) == (None, {}), "of episodes that say no kind"
    assert report["tokens_per_s"] == {"rollout": 100.0, "learner": 50.0}
    assert set(report["tool_calls_per_episode"]) == {"sft", "grpo"}
