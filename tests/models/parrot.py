"""A tiny Qwen3-VL that has learned a few sentences by heart, for a real server to serve.

Whatever it is asked, it writes the sentence that the server's grammar allows, and the first one where there is no
grammar; so a run gets real replies of a real model, good ones among them, after seconds of training.
"""

from collections.abc import Sequence
from pathlib import Path

from configs.policy import TinyModelConfig
from learner.model.tiny import build_tiny_model

SIZES = TinyModelConfig(
    hidden_size=64,
    layers=2,
    intermediate_size=128,
    vision_hidden_size=64,
    vision_layers=1,
    max_position_embeddings=16384,
)
MOST_STEPS, LOOK, SURE = 1000, 20, 4
"""Steps of training, after how many it is looked whether the sentences are known, and how often in a row they are."""
BEFORE, FAR = 400, 600
"""Most tokens of a prompt that stand before a sentence in training, and how many where it is looked."""
FIRST = 4
"""Times that the first sentence is in a batch, so that it is the likeliest where all are allowed."""


def build_parrot(folder: Path, sentences: Sequence[str], prompts: Sequence[str]) -> Path:
    """Build the model, its tokenizer made of the prompts too, and teach it the sentences."""
    import torch
    from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

    build_tiny_model(SIZES, [*sentences, *prompts] * 20, folder, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)

    def ids_of(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    start, read = ids_of("<|im_end|>\n<|im_start|>assistant\n"), torch.tensor(ids_of(" ".join(prompts)))
    learned = [ids_of(text + "<|im_end|>") for text in [*list(sentences[:1]) * FIRST, *sentences[1:]]]
    longest = max(map(len, learned))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)

    @torch.no_grad()
    def knows(sentence: list[int]) -> bool:
        """Whether it writes a sentence after a long prompt, once the first two tokens are there."""
        ids = torch.cat([read[-FAR:], torch.tensor(start), torch.tensor(sentence)])[None]
        said = model(input_ids=ids, logits_to_keep=len(sentence)).logits[0].argmax(-1)
        return said[1:-1].tolist() == sentence[2:]

    known = 0
    for step in range(MOST_STEPS):
        if step % LOOK == 0:
            known = known + 1 if all(map(knows, learned[FIRST - 1 :])) else 0
        if known == SURE:
            break
        before = int(torch.randint(BEFORE, ()))
        ids = torch.zeros(len(learned), before + len(start) + longest, dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for row, sentence in enumerate(learned):
            at = int(torch.randint(len(read) - before, ()))
            ids[row, : before + len(start)] = torch.cat([read[at : at + before], torch.tensor(start)])
            for made in (ids, labels):
                made[row, before + len(start) : before + len(start) + len(sentence)] = torch.tensor(sentence)
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    else:
        raise AssertionError(f"the sentences are not known after {MOST_STEPS} steps")
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    return folder
