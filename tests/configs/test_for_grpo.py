from configs import load_config
from configs.run import for_grpo


def test_grpo_trains_parts_of_its_own_where_it_names_some() -> None:
    config = load_config(None, ["grpo.train=[language]", "ranks.ranks=3"])
    assert config.ranks.train == ["language", "projector", "vision"]
    assert for_grpo(config).ranks.train == ["language"]
    assert for_grpo(config).ranks.ranks == 3


def test_with_none_it_trains_what_the_ranks_do() -> None:
    config = load_config(None, ["ranks.train=[language,projector]"])
    assert for_grpo(config).ranks.train == ["language", "projector"]
