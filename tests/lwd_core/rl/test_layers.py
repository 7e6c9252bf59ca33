"""A field's layers in one call say what layer by layer says, and are not given what they would go beyond."""

import ctypes

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.rl import native
from lwd_core.rl.encoders import EncoderConfig, Observation
from lwd_core.rl.fused import fusing
from lwd_core.rl.layers import Layers
from lwd_core.rl.networks import FieldConfig, VelocityField


def new_layers(batch: int, hidden: int = 12, layers: int = 3) -> Layers:
    field = VelocityField(
        FieldConfig(
            EncoderConfig(5, instruction_features=0), action_dim=2, chunk=3, hidden=hidden, layers=layers
        )
    )
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
        return field.at(Observation(torch.randn(batch, 5), torch.zeros(batch, 0))).layers


@torch.no_grad()
def all_of(layers: Layers, x: torch.Tensor, w: torch.Tensor | float, mode) -> list[torch.Tensor]:
    rows, depth = x.numel() // x.shape[-1], 1 + len(layers.hidden)
    # room for more rows than these, as along a path
    values, slopes, ups = torch.zeros(3, depth, rows + 2, layers.context.shape[1]).unbind()
    values, slopes = values[:, 1:-1], slopes[:, 1:-1]
    g = torch.linspace(-1, 1, x.numel()).view(rows, -1)
    with fusing(mode):
        assert layers._one_call(x) == (mode == "on")
        velocity = layers.visit(x, w, values, slopes)
        down = layers.back(g, slopes, ups[:, :rows])
        return [layers.forward(x, w), velocity, values, slopes, down, layers.back(g, slopes), ups]


@given(
    points=st.integers(1, 4),
    batch=st.integers(1, 9),
    layers=st.integers(1, 4),
    moving=st.booleans(),
    threads=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_one_call_says_what_layer_by_layer_says(points, batch, layers, moving, threads, seed):
    torch.manual_seed(seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        at = new_layers(batch, hidden=40, layers=layers)
        x = torch.randn(points, batch, 6)
        w = torch.rand(points, batch if seed % 2 else 1, 1) if moving else 0.3
        for one, other in zip(all_of(at, x, w, "off"), all_of(at, x, w, "on"), strict=True):
            torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_many_rows_are_taken_in_pieces():
    at = new_layers(batch=700, hidden=256, layers=2)
    x, w = torch.randn(3, 700, 6), torch.rand(3, 1, 1)
    for one, other in zip(all_of(at, x, w, "off"), all_of(at, x, w, "on"), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_call_is_not_given_what_it_would_go_beyond():
    at, x = new_layers(batch=4), torch.randn(4, 6)
    room = torch.zeros(3, 4, 12)
    with fusing("on"):
        for wrong in (room[:, :3], room[:, :, :6], room.double(), room.mT.contiguous().mT):
            with pytest.raises(ValueError, match="4 rows of 12"):
                at.visit(x, 0.0, wrong, wrong)
            with pytest.raises(ValueError, match="4 rows of 12"):
                at.back(x, wrong)
        with pytest.raises(ValueError, match="of one layout"):
            at.visit(x, 0.0, room, torch.zeros(3, 5, 12)[:, :4])


@torch.no_grad()
def test_other_types_and_a_torch_without_its_product_go_layer_by_layer(monkeypatch):
    at, x = new_layers(batch=4), torch.randn(4, 6)
    with fusing("on"):
        assert at._one_call(x)
        assert not at._one_call(x.double())
    monkeypatch.setattr(native, "gemm", lambda: None)
    without = Layers(at.context, at.action, at.time, at.hidden, at.out)
    with fusing("on"):
        assert not without._one_call(x)
        torch.testing.assert_close(without.forward(x, 0.5), at.forward(x, 0.5), atol=2e-6, rtol=1e-5)


def test_a_library_that_does_not_show_its_product_is_told_by_none(monkeypatch):
    class Nothing:
        def __init__(self, path: str):
            assert path.endswith("libtorch_cpu.so")

    native.gemm.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", Nothing)
        assert native.gemm() is None
    native.gemm.cache_clear()


@pytest.mark.parametrize("mode", ["off", "on"])
def test_there_is_no_way_back_through_weights_that_have_moved(mode):
    field = VelocityField(
        FieldConfig(EncoderConfig(5, instruction_features=0), action_dim=2, chunk=3, hidden=12)
    )
    with fusing(mode):
        velocity = field(Observation(torch.randn(4, 5), torch.zeros(4, 0)), torch.randn(4, 6), 0.5)
        with torch.no_grad():
            field.out.weight.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            velocity.sum().backward()
