"""Code of one's own that a setting names."""

import pytest

from configs import ConfigError
from configs.own_code import own_code


def test_what_is_named_is_imported() -> None:
    assert own_code("episode.tools", "configs.own_code:own_code") is own_code


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("json", "not of the form module:name"),
        (":dumps", "not of the form module:name"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("json:no_such_name", "no_such_name"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence_with_the_key(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        own_code("episode.tools", name)
    assert str(raised.value).startswith(f"episode.tools: '{name}'")
