"""Code of one's own that a setting names."""

from pathlib import Path

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


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(:", "invalid syntax"),
        ("no_such_name", "no_such_name"),
        ("raise SystemExit('bye')", "bye"),
        ("assert False", "AssertionError"),
    ],
)
def test_code_that_fails_as_it_is_imported_is_one_sentence(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_broken_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_broken_code:f", ".own_broken_code:f"):
        with pytest.raises(ConfigError, match=f"'{name}' cannot be imported") as raised:
            own_code("episode.reward.function", name)
        assert said in str(raised.value) or name.startswith(".")
