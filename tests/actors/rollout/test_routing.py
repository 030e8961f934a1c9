"""Which engine plays which group."""

from hypothesis import given
from hypothesis import strategies as st

from actors.rollout.routing import Routing


def test_the_emptiest_is_chosen_and_equals_take_turns() -> None:
    routing = Routing(3)
    assert [routing.assign(i, f"t{i}", 8) for i in range(6)] == [0, 1, 2, 0, 1, 2]
    routing.finish(1, 8)
    assert routing.assign(6, "t6", 8) == 1
    assert routing.open == [16, 16, 16]


def test_a_task_goes_where_its_frames_are_unless_that_engine_has_a_group_more() -> None:
    routing = Routing(3)
    assert routing.assign(1, "again", 8) == 1
    assert routing.assign(2, "other", 8) == 2
    routing.finish(1, 8)
    assert routing.assign(3, "again", 8) == 1, "not 0, whose turn it is"
    assert routing.assign(4, "again", 8) == 0, "for 1 has a group more"


def test_a_member_that_failed_goes_back_to_its_engine() -> None:
    routing = Routing(2)
    for number in range(2):
        routing.assign(number, f"t{number}", 8)
    for engine in range(2):
        routing.finish(engine, 8)
    assert routing.assign(2, "t1", 1) == 1


def test_there_is_room_for_one_group_and_then_up_to_the_most() -> None:
    routing = Routing(2)
    assert routing.has_room(8, most=1)
    routing.assign(0, "a", 8)
    assert routing.has_room(8, most=1)
    routing.assign(1, "b", 8)
    assert not routing.has_room(8, most=15)
    assert routing.has_room(8, most=16)


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=80))
def test_no_engine_is_ever_over_a_group_ahead_when_it_is_given_one(engines: int, moves: list[tuple[int, bool]]) -> None:
    routing, running = Routing(engines), []
    for number, (task, ends) in enumerate(moves):
        least = min(routing.open)
        engine = routing.assign(number, f"t{task}", 8)
        running.append(engine)
        assert routing.open[engine] <= least + 8
        if ends:
            routing.finish(running.pop(0), 8)
    assert sum(routing.open) == 8 * len(running)
