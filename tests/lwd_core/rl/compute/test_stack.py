"""MLPs side by side in one call say what they say product by product, there and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.rl.compute import native
from lwd_core.rl.compute.fused import fusing
from lwd_core.rl.compute.stack import Weights, in_one_call
from lwd_core.rl.networks import StackedMLP


def new_stack(heads: int, layers: int, hidden: int = 24, outputs: int = 3) -> StackedMLP:
    stack = StackedMLP([7, *[hidden] * layers, outputs], heads)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.normal_(std=parameter.shape[1] ** -0.5)
    return stack


def there_and_back(stack: StackedMLP, x: torch.Tensor, mode) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with fusing(mode):
        end = stack(x)
        assert ("_InOneCall" in type(end.grad_fn).__name__) == (mode == "on")
        with torch.no_grad():
            torch.testing.assert_close(stack(x), end)
        return [end, *torch.autograd.grad(end.sin().sum(), [x, *stack.parameters()])]


@given(
    heads=st.integers(1, 5),
    layers=st.integers(1, 4),
    rows=st.integers(1, 40),
    threads=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_one_call_says_what_product_by_product_says(heads, layers, rows, threads, seed):
    torch.manual_seed(seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        stack, x = new_stack(heads, layers), torch.randn(rows, 7)
        for one, other in zip(there_and_back(stack, x, "off"), there_and_back(stack, x, "on"), strict=True):
            torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_many_rows_are_taken_in_pieces():
    stack, x = new_stack(heads=3, layers=2, hidden=256), torch.randn(1500, 7)
    for one, other in zip(there_and_back(stack, x, "off"), there_and_back(stack, x, "on"), strict=True):
        torch.testing.assert_close(one, other, atol=3e-4, rtol=1e-4)  # sums of 1,500 rows


@pytest.mark.parametrize("mode", ["off", "on"])
def test_the_gradient_of_a_frozen_stack_goes_to_its_input_alone(mode):
    stack, x = new_stack(heads=2, layers=2), torch.randn(5, 7, requires_grad=True)
    with fusing(mode):
        (free,) = torch.autograd.grad(stack(x).sum(), x)
        end = stack(x, frozen=True)
        (frozen,) = torch.autograd.grad(end.sum(), x, retain_graph=True)
        torch.testing.assert_close(frozen, free)
        assert torch.autograd.grad(end.sum(), list(stack.parameters()), allow_unused=True) == (None,) * len(
            list(stack.parameters())
        )


@pytest.mark.parametrize("mode", ["off", "on"])
def test_there_is_no_way_back_through_weights_that_have_moved(mode):
    stack = new_stack(heads=2, layers=2)
    with fusing(mode):
        end = stack(torch.randn(5, 7))
        with torch.no_grad():
            stack.weights[1].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            end.sum().backward()


def test_a_number_that_is_not_finite_stays_so():
    stack, x = new_stack(heads=2, layers=2), torch.randn(5, 7)
    x[3, 2] = float("nan")
    with fusing("on"):
        end = stack(x)
    assert end[:, 3].isnan().all()
    assert end[:, [0, 1, 2, 4]].isfinite().all()


def test_what_does_not_fit_goes_product_by_product():
    stack, x = new_stack(heads=2, layers=2), torch.randn(5, 7)

    def taken(stack: StackedMLP, x: torch.Tensor) -> bool:
        parts = stack.weights, stack.biases, stack.scales, stack.shifts
        return in_one_call(x, Weights(*(list(part) for part in parts))) is not None

    assert not taken(stack, x)
    with fusing("on"):
        assert taken(stack, x)
        assert not taken(stack, torch.randn(5, 6))
        assert not taken(StackedMLP([7, 24, 12, 3], 2), x)
        assert not taken(new_stack(2, 2).double(), x.double())
        with torch.autocast("cpu", torch.bfloat16):
            assert not taken(stack, x)
            assert stack(x).dtype == torch.bfloat16


def test_without_gradient_nothing_is_kept_for_a_way_back(monkeypatch):
    stack, x = new_stack(heads=2, layers=2), torch.randn(5, 7)
    kept: list[bool] = []
    call = native.call_with

    def spied(name, network, x, kept_by, *args):
        kept.append(bool(kept_by.z))
        call(name, network, x, kept_by, *args)

    monkeypatch.setattr(native, "call_with", spied)
    with fusing("on"):
        stack(x)
        with torch.no_grad():
            stack(x)
    assert kept == [True, False]
