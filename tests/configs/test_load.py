"""Reading configs: YAML over defaults, overrides over YAML, and what is said of mistakes."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import Config, ConfigError, load_config, to_yaml

YAMLS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_without_a_file_the_defaults_hold() -> None:
    assert load_config() == Config()


def test_overrides_come_after_the_file_and_keep_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: written\ngrpo: {steps: 3, group_size: 4}\n")
    config = load_config(path, ["grpo.steps=5", "sampling.temperature=0.5"])
    assert (config.name, config.grpo.steps, config.grpo.group_size) == ("written", 5, 4)
    assert config.sampling.temperature == 0.5
    assert config.sft == Config().sft


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_every_yaml_that_ships_loads_and_comes_back_from_its_own_dump(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    dump = tmp_path / "dump.yaml"
    dump.write_text(to_yaml(config))
    assert load_config(dump) == config


@settings(max_examples=10)
@given(steps=st.integers(0, 10**6), lr=st.floats(0, 1), tools=st.lists(st.sampled_from(["crop_video", "x"])))
def test_a_dump_reads_back_as_the_same_config(
    tmp_path_factory: pytest.TempPathFactory, steps: Any, lr: Any, tools: Any
) -> None:
    config = Config()
    config.grpo.steps, config.grpo.lr, config.episode.tools = steps, lr, tools
    dump = tmp_path_factory.mktemp("dump") / "config.yaml"
    dump.write_text(to_yaml(config))
    assert load_config(dump) == config


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["grpo.step=3"], "unknown key 'grpo.step'; did you mean 'grpo.steps'"),
        (["grop.steps=3"], "unknown key 'grop'; did you mean 'grpo'"),
        (["grpo.steps.more=3"], "unknown key 'grpo.steps.more'"),
        (["teacher.hasty.circle.more=3"], "unknown key 'teacher.hasty.circle.more'"),
        (["grpo.steps=many"], "grpo.steps"),
        (["ranks.dtype=float16"], "ranks.dtype"),
        (["grpo.steps"], "override 'grpo.steps' is not of the form key=value"),
    ],
)
def test_a_wrong_override_is_one_sentence_with_the_key(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(None, overrides)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_mapping_takes_keys_of_its_own() -> None:
    assert load_config(None, ["teacher.hasty.circle=0.5"]).teacher.hasty["circle"] == 0.5


def test_an_unknown_key_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("serve: {prot: 9}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: unknown key 'serve\.prot'; did you mean 'serve\.port'"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [1", "not valid YAML"), ("- name: x", "a list, where there should be keys"), (None, "no such config file")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said) as raised:
        load_config(path)
    assert str(path) in str(raised.value)


def test_every_default_is_a_new_object() -> None:
    first, second = Config(), Config()
    first.episode.tools.append("another")
    assert second.episode.tools == [*Config().episode.tools]


def test_every_section_and_every_dataclass_says_what_it_is() -> None:
    def kinds(kind: Any) -> Iterator[Any]:
        yield kind
        for field in dataclasses.fields(kind):
            if dataclasses.is_dataclass(field.type):
                yield from kinds(field.type)

    assert all(kind.__doc__ and not kind.__doc__.startswith(kind.__name__ + "(") for kind in kinds(Config))


@pytest.mark.parametrize(
    "name",
    [
        "2026_11_27",
        "007",
        "1e3",
        "12:30:00",
        "on",
        "no",
        "null",
        "0x10",
        "1.10",
        "~",
        ".5",
        "true",
        "a #b",
        "[x",
        "{",
        "",
    ],
)
def test_a_text_is_kept_as_it_is_typed(tmp_path: Path, name: str) -> None:
    assert load_config(None, [f"name={name}"]).name == name
    assert load_config(None, [f"synth.text_model.model={name}"]).synth.text_model.model == name
    path = tmp_path / "run.yaml"
    path.write_text(f"name: '{name}'\n")
    assert load_config(path).name == name


@pytest.mark.parametrize("name", ["2026_11_27", "007", "1e3", "12:30:00", "on", "no", "0x10", "1.10", ".5"])
def test_a_text_in_a_file_needs_no_quotes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(
        b"\xef\xbb\xbf" + f"name: {name}\nsynth: {{source: {name}}}\nepisode: {{tools: [{name}]}}".encode()
    )
    config = load_config(path)
    assert (config.name, config.synth.source, config.episode.tools) == (name, name, [name])


def test_a_text_may_be_quoted_absent_or_one_of_several() -> None:
    config = load_config(None, ["name='x y'", "synth.source=null", "model.path=", "episode.tools=[007, no]"])
    assert (config.name, config.synth.source, config.model.path) == ("x y", None, None)
    assert config.episode.tools == ["007", "no"]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\ufeff"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    assert load_config(tmp_path / "run.yaml") == Config()
