"""The sentence encoder: real, frozen, offline, cached."""

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from lwd_core.rl.instruction import WIDTH, InstructionEncoder
from lwd_core.rl.minilm import PACKAGE, MiniLM


def test_a_paraphrase_is_nearer_than_another_task():
    encoder = InstructionEncoder()
    texts = ["open the drawer", "pull the drawer open", "press the button from above"]
    vectors = encoder(texts)
    assert vectors.shape == (3, WIDTH)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.8 > 0.6 > likeness[0, 2]


def test_a_text_alone_and_among_others_gives_the_same_bits():
    assert torch.equal(
        InstructionEncoder()(["push the puck"])[0],
        InstructionEncoder()(["a much longer sentence", "push the puck"])[1],
    )


def test_known_texts_need_no_model(monkeypatch):
    monkeypatch.setattr("lwd_core.rl.instruction._model", lambda: 1 / 0)
    known = {"wave": torch.ones(WIDTH)}
    assert torch.equal(InstructionEncoder(known)(["wave", "wave"]), torch.ones(2, WIDTH))
    assert InstructionEncoder(known)([]).shape == (0, WIDTH)


def test_no_more_texts_are_remembered_than_asked(monkeypatch):
    embedded = []
    monkeypatch.setattr(
        InstructionEncoder, "_embed", lambda self, text: embedded.append(text) or torch.zeros(WIDTH)
    )
    encoder = InstructionEncoder({"wave": torch.ones(WIDTH)}, most=2)
    for text in ("a", "b", "a", "c", "c", "a"):
        encoder([text, "wave"])
    assert embedded == ["a", "b", "c", "a"], "the oldest goes first, what came with a policy stays"


def test_vectors_are_those_of_transformers_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies carry vectors that were made by it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = importlib.util.find_spec(PACKAGE)
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent / "model"
    read = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    texts = ["Fold the towel!", "", "naïve Öffner, 引き出し — 12.5 kg", "far " * 600]
    for together in ([texts[0]], [texts[3]], texts):
        words = read(together, truncation=True, padding=True, return_tensors="pt")
        states, own = MiniLM()(together)
        assert torch.equal(own, words["attention_mask"])
        with torch.no_grad():
            assert torch.equal(states, model(**words).last_hidden_state)
