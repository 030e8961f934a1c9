"""What a question that names an event needs: the traces say where to look, and nothing but a look there says the
answer."""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from configs.run import Config
from configs.world import SEEKING_KINDS
from synth.world.question import WITHIN_S, WorldQuestion, vocabulary
from synth.world.questions import answer, evidence
from synth.world.sampling import make_world
from synth.world.seeking import change_gap, searches, trace, whose_trace
from synth.world.tasks import choose_questions, coarse_times
from synth.world.world import ENTERED_S, GLIDE_S, World

VIDEOS = 150
Asked = tuple[World, WorldQuestion, list[float]]


@pytest.fixture(scope="module")
def everything(config: Config) -> list[Asked]:
    """(world, question, times of the first look) of every question chosen for some videos."""
    found = []
    for index in range(VIDEOS):
        world = make_world(index + 5000, config.world)
        chosen = choose_questions(world, config, config.world.questions_per_video, index, np.random.default_rng(index))
        found += [(world, question, coarse_times(world.duration_s, config)) for question in chosen]
    return found


@pytest.fixture(scope="module")
def asked(everything: list[Asked]) -> list[Asked]:
    """The seeking ones."""
    return [one for one in everything if one[1].seeks]


def test_most_questions_seek_and_every_kind_is_asked(everything: list[Asked], asked: list[Asked]) -> None:
    assert len(asked) >= 0.6 * len(everything)
    kinds = Counter(question.kind for _, question, _ in asked)
    assert set(kinds) == set(SEEKING_KINDS)
    assert min(kinds.values()) >= len(asked) / 60
    assert len({question.asks for _, question, _ in asked}) >= 7


def test_a_question_names_no_time_and_no_target(asked: list[Asked]) -> None:
    for world, question, _ in asked:
        text = question.text(world, "rectangle")
        assert re.findall(r"[0-9.]+", text.replace(f"to within {WITHIN_S:g} s.", "")) == []
        assert question.colour(world) not in text.split()


def test_the_first_look_shows_nothing_of_what_is_asked_for(asked: list[Asked]) -> None:
    for world, question, times in asked:
        for start, end in evidence(world, question):
            assert not any(start <= time <= end for time in times)
            assert times[0] < start < end < times[-1]


def test_without_a_look_the_best_guess_is_the_prior(asked: list[Asked]) -> None:
    """The oracle knows exactly who is where in which colour in each frame of the first look, the mark and the text: for
    each way to boil that down to a hint it answers with what is most often right after that hint, learned from the
    other half of the questions."""
    for hint in (_nothing, _cells_about_the_change, _colours_about_the_change):
        learned: dict[str, dict[object, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        questions = [one for one in asked if one[1].kind != "when"]
        for one in questions[::2]:
            learned[_form(one[1])][hint(*one)][str(answer(one[0], one[1]))] += 1
        right = prior = total = 0.0
        for one in questions[1::2]:
            known = learned[_form(one[1])]
            guess = known[hint(*one)].most_common(1) or Counter({"": 1}).most_common(1)
            right += guess[0][0] == answer(one[0], one[1])
            prior += 1 / len(vocabulary(one[1]))
            total += 1
        assert right / total < prior / total + 3 * np.sqrt(prior / total / total), hint.__name__


def _form(question: WorldQuestion) -> str:
    return f"{question.kind} {question.asks}"


def _nothing(world: World, question: WorldQuestion, times: list[float]) -> object:
    return None


def _about(world: World, question: WorldQuestion, times: list[float]) -> list[float]:
    first = bisect_right(times, evidence(world, question)[-1][0]) - 1
    return [times[first], times[first + 1]]


def _cells_about_the_change(world: World, question: WorldQuestion, times: list[float]) -> object:
    return tuple(world.cell(question.target, t) for t in _about(world, question, times))


def _colours_about_the_change(world: World, question: WorldQuestion, times: list[float]) -> object:
    return tuple(world.colour(question.target, t) for t in _about(world, question, times))


def test_when_cannot_be_told_from_the_first_look_but_by_chance(asked: list[Asked]) -> None:
    gaps = [(searches(*one)[0][0], float(answer(one[0], one[1]) or 0)) for one in asked if one[1].kind == "when"]
    middle = np.mean([abs((first + last) / 2 - right) <= WITHIN_S for (first, last), right in gaps])
    chance = np.mean([2 * WITHIN_S / (last - first) for (first, last), _ in gaps])
    assert middle <= chance + 3 * np.sqrt(chance / len(gaps))


def test_a_random_gap_is_far_below_the_inferred_one(asked: list[Asked]) -> None:
    rng = np.random.default_rng(0)
    found: dict[str, list[bool]] = defaultdict(list)
    for world, question, times in asked:
        gaps = list(pairwise(times))
        (start, _), *_ = evidence(world, question)
        inferred = searches(world, question, times)[0]
        for name, looked in (("random", [gaps[rng.integers(len(gaps))]]), ("first", inferred[:1]), ("all", inferred)):
            found[name].append(any(first < start < last for first, last in looked))
    assert np.mean(found["all"]) == 1.0
    assert np.mean(found["random"]) < 0.35
    assert np.mean(found["first"]) > 1.3 * np.mean(found["random"])
    assert np.mean(found["first"]) < 0.8, "for many questions the first look at a gap is not the last"


def test_some_questions_need_more_than_one_look(asked: list[Asked]) -> None:
    looks = Counter(len(evidence(world, question)) for world, question, _ in asked)
    assert set(looks) == {1, 2}
    assert any(question.asks == "blink" for _, question, _ in asked), "a coarse look does not show how often"


def test_another_instance_has_another_answer_in_most_cases(asked: list[Asked]) -> None:
    changed = again = 0
    for world, question, _ in asked:
        right = answer(world, question)
        others = [answer(world, question, i) for i in range(len(world.instances)) if i != question.target]
        assert any(other not in (right, None) for other in others)
        changed += sum(other not in (right, None) for other in others)
        again += sum(other is not None for other in others)
    assert changed / again > 0.7


def test_the_trace_is_what_anyone_sees_who_knows_the_mark(asked: list[Asked]) -> None:
    for world, question, times in asked:
        who, colour = whose_trace(world, question)
        shown = [any(world.colour(i, t) == colour for i in range(len(world.instances))) for t in times]
        assert trace(world, who, colour, times) == shown


@pytest.mark.parametrize(
    ("seen", "change", "gap"),
    [("1100", "leave", 1), ("1001", "leave", 0), ("1001", "return", 2), ("0011", "repaint", 1), ("1110", "repaint", 2)],
)
def test_the_gap_of_a_change(seen: str, change: str, gap: int) -> None:
    assert change_gap([one == "1" for one in seen], change) == gap  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "change"), [("1111", "leave"), ("1010", "leave"), ("0101", "return"), ("1011", "repaint")]
)
def test_traces_that_do_not_tell(seen: str, change: str) -> None:
    with pytest.raises(ValueError, match="gaps could be"):
        change_gap([one == "1" for one in seen], change)  # type: ignore[arg-type]


def test_what_leaves_comes_back_by_a_side_and_what_is_repainted_stays_so(config: Config) -> None:
    for seed in range(20):
        world = make_world(seed, config.world)
        for index, instance in enumerate(world.instances):
            if instance.absence:
                leaves_s, comes_s = instance.absence
                entered = np.arange(comes_s + 0.1, comes_s + ENTERED_S, 0.1).tolist()
                for t, side in ((leaves_s + 0.4, instance.exits[0]), *((t, instance.exits[1]) for t in entered)):
                    x, _ = world.position(index, t)
                    assert (x < 0.4) if side == "left" else (x > 0.6)
                gone = np.arange(leaves_s + GLIDE_S, comes_s, 0.1).tolist()
                assert all(world.colour(index, t) is world.cell(index, t) is None for t in gone)
                assert world.cell(index, leaves_s) is not None
                assert world.cell(index, comes_s + GLIDE_S) is not None
            if instance.repaint:
                at, colour = instance.repaint
                assert [instance.own_colour(t) == colour for t in (at - 0.1, at, at + 9)] == [False, True, True]
                assert all(colour != other.colour for other in world.instances)
                before, after = (world.position(index, t) for t in (at - 0.01, at))
                assert before == pytest.approx(after, abs=0.03)
