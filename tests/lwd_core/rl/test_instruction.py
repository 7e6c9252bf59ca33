"""The sentence encoder: real, frozen, offline, cached."""

import torch

from lwd_core.rl.instruction import WIDTH, InstructionEncoder


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
    monkeypatch.setattr("lwd_core.rl.instruction._load", lambda: 1 / 0)
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
