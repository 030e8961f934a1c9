"""The one door of a rank: a method, as its class has it, is called on the part that it belongs to."""

import pytest

from configs import Config
from learner.ranks.rank import Rank
from learner.ranks.state import RankState
from learner.ranks.updates import Updates


class Written(RankState):
    """Stands where a rank's state would, and notes what it was to load."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, folder: str) -> None:
        self.loaded.append(folder)


@pytest.fixture
def rank() -> Rank:
    rank = Rank(Config(), "model", None, 0, 1.0)
    rank.state = Written()
    return rank


def test_a_method_is_called_on_the_part_whose_class_has_it(rank: Rank) -> None:
    rank.call(RankState.load, "folder")
    assert isinstance(rank.state, Written)
    assert rank.state.loaded == ["folder"]
    assert len(rank.call(Rank.address)) == 2


def test_a_method_of_something_else_is_refused(rank: Rank) -> None:
    with pytest.raises(TypeError, match=r"Updates\.sft_step is no method of a rank"):
        rank.call(Updates.sft_step, [], 0.1, [])
