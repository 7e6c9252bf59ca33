"""A field's layers in one call say what layer by layer says, and are not given what they would go beyond."""

import ctypes

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.rl.compute import native
from lwd_core.rl.compute.fused import fusing
from lwd_core.rl.compute.layers import Layers
from lwd_core.rl.compute.walk import Step, pull_along, walk
from lwd_core.rl.encoders import EncoderConfig, Observation
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.networks import FieldConfig, VelocityField
from lwd_core.rl.velocity import VelocityAt


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
    values, slopes = torch.zeros(2, depth, rows + 2, layers.context.shape[1])[:, :, 1:-1].unbind()
    g = torch.linspace(-1, 1, x.numel()).view(rows, -1)
    with fusing(mode):
        assert layers._one_call(x) == (mode == "on")
        velocity = layers.visit(x, w, values, slopes)
        times = torch.as_tensor(w).expand(*x.shape[:-1], 1).flatten()
        gradients = layers.gradients(x.view(rows, -1), times, g, values, slopes)
        return [layers.forward(x, w), velocity, values, slopes, *gradients.all()]


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
        # sums of 2,100 rows, which may cancel
        torch.testing.assert_close(one, other, atol=max(2e-4, 3e-5 * other.abs().max().item()), rtol=1e-5)


@torch.no_grad()
def test_a_call_is_not_given_what_it_would_go_beyond():
    at, x = new_layers(batch=4), torch.randn(4, 6)
    room = torch.zeros(3, 4, 12)
    with fusing("on"):
        for wrong in (room[:, :3], room[:, :, :6], room.double(), room.mT.contiguous().mT):
            with pytest.raises(ValueError, match="4 rows of 12"):
                at.visit(x, 0.0, wrong, wrong)
            with pytest.raises(ValueError, match="4 rows of 12"):
                at.gradients(x, torch.zeros(4), x, wrong, wrong)
        with pytest.raises(ValueError, match="3 rows are not points of a path at 4"):
            at.gradients(x[:3], torch.zeros(3), x[:3], room[:, :3], room[:, :3])
        with pytest.raises(ValueError, match=r"points: \(4, 6\)"):
            at.gradients(x[:3], torch.zeros(4), x, room, room)
        with pytest.raises(ValueError, match=r"times: \(4,\)"):
            at.gradients(x, torch.zeros(3), x, room, room)
        with pytest.raises(ValueError, match="of one layout"):
            at.visit(x, 0.0, room, torch.zeros(3, 5, 12)[:, :4])


STEPS = [Step(0.0, 0.7, 0.2, 0.5), Step(0.3, 1.1, -0.4, 0.25), Step(0.6, 0.9, 0.3)]


class StepByStep:
    """A flow that shows nothing but velocities and derivatives."""

    def __init__(self, flow: ConditionedFlow):
        self.velocity, self.linearise = flow.velocity, flow.linearise


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("stirred", [False, True])
@pytest.mark.parametrize("batch", [5, 300])
def test_a_walk_in_one_call_goes_where_steps_go(masked, stirred, batch):
    torch.manual_seed(0)
    field = VelocityAt(new_layers(batch, hidden=48))
    mask = (torch.arange(6) < 4).float().expand(batch, 6) if masked else None
    real = 1 if mask is None else mask
    flow, x = ConditionedFlow(field, mask), torch.randn(batch, 6) * real
    noise = torch.randn(batch, 3, 6).transpose(0, 1) * real if stirred else None
    points, velocities = walk(StepByStep(flow), x, STEPS, noise)
    last = torch.randn(batch, 6)
    adjoints = pull_along(StepByStep(flow), points[:-1], STEPS, last)
    with fusing("on"):
        recorded = flow.record(4)
        assert flow.walk(x, STEPS, noise) is not None
        for source in (flow, recorded):
            for one, other in zip(walk(source, x, STEPS, noise), (points, velocities), strict=True):
                torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)
        assert flow.pull_along(points[:-1], STEPS, last) is not None
        torch.testing.assert_close(pull_along(flow, points[:-1], STEPS, last), adjoints, atol=2e-6, rtol=1e-5)
        # what a walk remembered, with a point after it
        end = recorded.velocity(points[-1], 0.9)
    torch.testing.assert_close(recorded.replay(), torch.cat([velocities, end[None]]), atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_a_walk_keeps_within_what_it_is_given():
    at, x = new_layers(batch=4), torch.randn(4, 6)
    with fusing("on"):
        with pytest.raises(ValueError, match=r"noise: \(3, 4, 6\)"):
            at.walk(x, STEPS, torch.zeros(2, 4, 6), None)
        with pytest.raises(ValueError, match=r"mask: \(4, 6\)"):
            at.walk(x, STEPS, None, torch.ones(3, 6))
        with pytest.raises(ValueError, match="12 rows of 12"):
            at.walk(x, STEPS, None, None, *torch.zeros(2, 3, 8, 12).unbind())
        with pytest.raises(ValueError, match=r"points: \(3, 4, 6\)"):
            at.pull_along(torch.zeros(2, 4, 6), STEPS, x, None)
        with pytest.raises(ValueError, match=r"last: \(4, 6\)"):
            at.pull_along(torch.zeros(3, 8, 6), STEPS, torch.zeros(8, 6), torch.ones(4, 6))
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            at.forward(torch.zeros(4, 5), 0.5)
        with pytest.raises(ValueError, match=r"mask: \(4, 6\)"):
            at.pull_along(torch.zeros(3, 4, 6), STEPS, x, torch.ones(4, 5))


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
