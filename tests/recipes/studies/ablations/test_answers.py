"""The answer ablation without its training: the arms' tasks and folders, what episodes show, the page."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from configs import load_config
from configs.run import Config
from env.judging.rules import judge
from env.task import Task, load_tasks, save_tasks
from recipes.folder import RunFolder
from recipes.studies.ablations.answer_page import page
from recipes.studies.ablations.answers import ablate_answers, curve_ends, examine, in_forms
from recipes.studies.ablations.branches import branch_off
from synth.world.question import vocabulary
from synth.world.questions import answer
from synth.world.sampling import make_world
from synth.world.tasks import choose_questions, question_of
from tests.films.sample_episode import make_episode
from tools.marks.visual_prompt import VisualPrompt


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    runs_dir = tmp_path_factory.mktemp("runs")
    return load_config("configs/demo.yaml", [f"runs_dir={runs_dir}", f"data_dir={runs_dir}/data"])


@pytest.fixture(scope="module")
def tasks(config: Config) -> list[Task]:
    """Questions of every kind about three worlds; nothing is drawn."""
    mark = (VisualPrompt("frame.png", 1.0, "rectangle"),)
    made = []
    for seed in range(3):
        world = make_world(seed, config.world)
        for i, question in enumerate(choose_questions(world, config, 12, seed, np.random.default_rng(seed))):
            facts = {"seed": seed, **dataclasses.asdict(question)}
            right = str(answer(world, question))
            made.append(Task(f"{seed}-{i}", "film.mp4", question.text(world, "rectangle"), right, "OA", mark))
            made[-1] = dataclasses.replace(made[-1], facts=facts)
    return made


@pytest.mark.parametrize("most", [4, 2])
def test_the_same_questions_come_back_with_options_and_the_same_right_answer(tasks: list[Task], most: int) -> None:
    asked = in_forms(tasks, seed=0, options=most)
    assert len({task.facts["kind"] for task in tasks}) >= 8
    for plain, choice in zip(tasks, asked, strict=True):
        assert (choice.id, choice.question, choice.facts) == (plain.id, plain.question, plain.facts)
        assert choice.options is not None
        words = vocabulary(question_of(plain)[1]) or tuple(choice.options)  # of moments there are any number
        assert len(set(choice.options)) == len(choice.options) == min(most, len(words))
        assert set(choice.options) <= set(words)
        assert judge(choice, plain.answer) == judge(choice, choice.answer) == 1.0
    assert len({task.answer for task in asked}) == most


def test_the_form_of_a_task_hangs_on_seed_and_task_alone(tasks: list[Task]) -> None:
    mixed = in_forms(tasks, seed=0, options=4, choice_fraction=0.5)
    assert {task.form for task in mixed} == {"open", "choice"}
    assert in_forms(tasks[::-1], seed=0, options=4, choice_fraction=0.5) == mixed[::-1]
    assert in_forms(tasks, seed=1, options=4, choice_fraction=0.5) != mixed
    assert in_forms(tasks, seed=0, options=4, choice_fraction=0.0) == tasks


def test_an_arm_begins_with_all_that_the_start_has_and_tasks_of_its_own_form(config: Config, tasks: list[Task]) -> None:
    start = RunFolder.of(dataclasses.replace(config, name="start"))
    save_tasks(start.train, tasks)
    start.sft.mkdir()
    (start.sft / "model.safetensors").write_text("weights")
    start.teacher.write_text("lessons")
    for options in (0, 2):
        arm = dataclasses.replace(config, name=f"arm{options}")
        there = load_tasks(start.for_grpo)
        folder = branch_off(arm, start, in_forms(there, arm.seed, options) if options else ())
        assert (folder.sft / "model.safetensors").read_text() == "weights"
        assert not folder.teacher.exists()
        given = load_tasks(folder.rl if options else folder.for_grpo)
        assert [task.id for task in given] == [task.id for task in tasks]
        assert {len(task.options or ()) for task in given} == {options}
        assert given[0].video == str(start.data / "film.mp4")


def test_right_answers_without_a_look_are_lucky_and_questions_without_a_stretch_do_not_count(media: Path) -> None:
    right, wrong = make_episode(media), make_episode(media, accuracy=0.0)
    crop = right.calls[-1].arguments
    seen, unseen = ((crop["start_time"], crop["end_time"]),), ((4.0, 7.0),)
    played = [
        dataclasses.replace(episode, task_id=str(i), evidence=evidence)
        for i, (episode, evidence) in enumerate(
            [(right, seen), (right, seen), (right, unseen), (wrong, unseen), (wrong, ())]
        )
    ]
    found = examine(played)
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.tool_calls == 3.0
    assert (found.looked, found.right_if_looked, found.right_if_not) == (0.5, 1.0, 0.5)
    assert found.lucky == pytest.approx(1 / 3)


def test_shares_of_nothing_are_none(media: Path) -> None:
    found = examine([make_episode(media)])
    assert (found.looked, found.right_if_looked, found.right_if_not, found.lucky) == (None,) * 4


def test_the_ends_of_a_curve_are_means_of_its_first_and_last_grpo_steps() -> None:
    rows = [{"stage": "grpo", "reward": float(i), "accuracy": 0.5, "tool_calls": 2.0} for i in range(10)]
    ends = curve_ends([{"stage": "sft", "loss": 1.0}, *rows])
    assert ends == {"reward": [1.5, 7.5], "accuracy": [0.5, 0.5], "tool_calls": [2.0, 2.0]}


def test_the_page_tells_means_over_seeds_and_the_difference_of_each(config: Config) -> None:
    config = dataclasses.replace(config, ablation=dataclasses.replace(config.ablation, seeds=[3, 5]))
    text = page(config, [_report(3, 0.5, 0.4), _report(5, 0.7, 0.4)])
    assert "`videoseeker ablate answers configs/demo.yaml ablation.seeds=[3,5]`" in text
    assert "| GRPO on open questions | 60.0 ± 14.1 | 60.0 ± 14.1 | 2.00 ± 0.00 | 2.00 ± 0.00 |" in text
    assert "- GRPO on up to 2 options: -20.0 points on open questions (-10.0, -30.0)" in text
    assert "| GRPO on up to 4 options | open | 40.0 ± 0.0 | 80.0 ± 0.0 | - |" in text
    found = json.loads(text.split("```json\n")[1].split("\n```")[0])["answers"]
    assert [report["choice2"]["open"]["accuracy"] for report in found] == [0.4, 0.4]


def _report(seed: int, after_open: float, after_choice: float) -> dict:
    shares = {"looked": 0.4, "right_if_looked": 0.8, "right_if_not": None, "lucky": 0.1}
    curve = {"reward": [0.4, 0.6], "accuracy": [0.4, 0.6], "tool_calls": [2.0, 1.8]}

    def forms(accuracy: float) -> dict:
        return {form: {"accuracy": accuracy, "tool_calls": 2.0, **shares} for form in ("open", "choice")}

    after = {"open": after_open, "choice4": 0.5, "choice2": after_choice}
    arms = {name: {**forms(accuracy), "curve": curve} for name, accuracy in after.items()}
    return {"seed": seed, "start": forms(0.5), **arms}


def test_a_choice_of_one_option_is_refused_before_anything_is_made(config: Config) -> None:
    ablation = dataclasses.replace(config.ablation, options=[4, 1])
    with pytest.raises(ValueError, match=r"ablation\.options: .* at least 2"):
        ablate_answers(dataclasses.replace(config, name="never", ablation=ablation))
    assert not RunFolder.of(dataclasses.replace(config, name="never"), make=False).root.exists()


def test_footage_is_refused_before_anything_is_made(config: Config) -> None:
    synth = dataclasses.replace(config.synth, source="films", segmenter="motion")
    with pytest.raises(ValueError, match=r"synth\.source: `ablate answers` asks openly and with options"):
        ablate_answers(dataclasses.replace(config, name="never", synth=synth))
    assert not RunFolder.of(dataclasses.replace(config, name="never"), make=False).root.exists()
