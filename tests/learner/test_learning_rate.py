from configs.training import GrpoConfig
from learner.algorithm import learning_rate


def test_the_rate_of_grpo_is_constant_unless_it_is_to_fall() -> None:
    assert [learning_rate(GrpoConfig(steps=5, lr=2.0), step) for step in range(7)] == [2.0] * 7
    falling = GrpoConfig(steps=5, lr=2.0, lr_end_share=0.5)
    assert [learning_rate(falling, step) for step in range(7)] == [2.0, 1.75, 1.5, 1.25, 1.0, 1.0, 1.0]


def test_a_run_of_one_step_takes_the_first_rate() -> None:
    assert learning_rate(GrpoConfig(steps=1, lr=2.0, lr_end_share=0.0), 0) == 2.0


def test_the_rate_rises_first_where_it_is_to_warm_up() -> None:
    warm = GrpoConfig(steps=6, lr=2.0, warmup_steps=3, lr_end_share=0.5)
    assert [learning_rate(warm, step) for step in range(7)] == [0.5, 1.0, 1.5, 2.0, 1.5, 1.0, 1.0]
    assert learning_rate(GrpoConfig(steps=2, lr=2.0, warmup_steps=3), 1) == 1.0, "it ends before the rate is up"
