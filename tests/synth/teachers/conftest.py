"""The chat format of the tiny model, whose tokenizer knows the teacher's words."""

from pathlib import Path

import pytest

from configs.run import Config
from env.chat import ChatFormat
from env.task import Task
from synth.teachers.scripted import corpus
from tests.models.tiny import build_tiny_model


@pytest.fixture(scope="package")
def chat(small_data: tuple[Path, list[Task]], config: Config, tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    _, tasks = small_data
    folder = tmp_path_factory.mktemp("model")
    return ChatFormat.from_pretrained(build_tiny_model(config.model.tiny, corpus(tasks, config.world), folder, 0))
