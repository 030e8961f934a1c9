"""The rules of stage 1 keep questions about an instance and sort out what is surely about something else."""

import asyncio

import pytest

from synth.record import Record, Rejected
from synth.stages.text_filter import PROMPT, UNFIT, filter_by_rules, unfit

ABOUT_AN_INSTANCE = [
    "What does the man in red do after he sits down?",
    "How many times does the dog jump over the fence?",
    "What is the girl holding in her hand?",
    "Where does the cat go after leaving the sofa?",
    "What does the man holding a camera pick up?",
    "What color is the shirt of the man on the left?",
    "Why did the boy run to the door?",
    "What is happening to the red car?",
    "Which direction does the truck turn?",
    "Who passes the ball to the player in white?",
    "What does the person do before putting down the book?",
    "Is the woman left or right of the counter?",
]
ABOUT_SOMETHING_ELSE = {
    "How many people are in the room?": "counting",
    "What is the number of cars on the road?": "counting",
    "What is the camera doing at the beginning?": "camera work",
    "How does the camera angle change?": "camera work",
    "Which transition is used between the shots?": "camera work",
    "What is in the background of the video?": "scene",
    "Where does the video take place?": "scene",
    "What kind of room is shown?": "scene",
    "What is this video mainly about?": "overall activity",
    "What is happening in the video?": "overall activity",
    "Please describe the video in detail.": "overall activity",
    "What is the main purpose of the activity?": "overall activity",
    "Which song is playing?": "not visible",
    "What does the woman say to the child?": "not visible",
    "What emotion does the man show?": "not visible",
    "What text appears on the screen?": "not visible",
    "Which brand is the shoe?": "not visible",
    "What is the weather like?": "light",
    "What is the color of the background?": "light",
    "What time of day is it?": "light",
}


@pytest.mark.parametrize("question", ABOUT_AN_INSTANCE)
def test_questions_about_an_instance_stay(question: str) -> None:
    assert unfit(question) is None


@pytest.mark.parametrize(("question", "reason"), ABOUT_SOMETHING_ELSE.items())
def test_other_questions_go_with_their_reason(question: str, reason: str) -> None:
    assert unfit(question) == reason
    assert unfit(question.upper()) == reason


def test_the_filter_passes_the_record_on_or_rejects_it() -> None:
    record = Record("a", "test", "a.mp4", ABOUT_AN_INSTANCE[0], "stands")
    assert asyncio.run(filter_by_rules(record)) is record
    with pytest.raises(Rejected, match="scene"):
        asyncio.run(filter_by_rules(Record("b", "test", "a.mp4", "Where does the video take place?", "home")))


def test_the_model_is_told_every_reason_that_it_may_give() -> None:
    assert all(reason in PROMPT and covers in PROMPT for reason, covers in UNFIT.items())
