"""Compiled kernels say what the written ones say, and are done without where nothing can be compiled."""

import logging

import pytest
import torch
from torch._inductor import config as inductor
from torch._inductor.utils import fresh_cache

from lwd_core.errors import UserError
from lwd_core.rl.compute import fused, gelu, native
from lwd_core.rl.compute.fused import fusing, in_one_pass, kernel
from lwd_core.rl.compute.gelu import gelu_, gelu_and_slope, gelu_and_slope_, gelu_norm

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from the compiler itself


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_IT", 0)
    monkeypatch.setattr(gelu, "FEW", 0)


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """Nothing compiled before can be found again, and there is no C++ compiler."""
    monkeypatch.setattr(fused, "_failed", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "/nowhere/c++")
    native.functions.cache_clear()
    with inductor.patch({"cpp.cxx": ("/nowhere/c++",)}), fresh_cache():
        yield
    native.functions.cache_clear()


def said(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == fused.__name__]


@pytest.fixture
def inputs() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 6, 16), *torch.randn(3, 2, 1, 16).unbind()]


def normed(inputs: list[torch.Tensor], mode) -> list[torch.Tensor]:
    """`gelu_norm` and its gradient by everything."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    with fusing(mode):
        y = gelu_norm(leaves[0] * 1, *leaves[1:])
        return [y, *torch.autograd.grad(y, leaves, torch.linspace(-1, 1, 192).view(2, 6, 16).to(y.dtype))]


def test_compiled_kernels_agree_with_the_written_ones(inputs, monkeypatch):
    written = [*normed(inputs, "off"), *gelu_and_slope(inputs[0])]
    in_one = normed(inputs, "on")
    monkeypatch.setattr(native, "fits", lambda _: False)
    with fusing("on"):
        compiled = [*normed(inputs, "on"), *gelu_and_slope(inputs[0])]
    for one, other in zip(written, compiled, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)
    for one, other in zip(written[:5], in_one, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_one_pass_says_what_several_do(inputs, kind):
    z = 3 * inputs[0].view(4, 3, 16).to(kind)
    bias, context = torch.randn(16), torch.randn(3, 16).to(kind)
    tolerance = 1e-5 if kind == torch.float32 else 0.02
    with fusing("on"):
        assert in_one_pass(z)
        assert not in_one_pass(z.double())
        assert not in_one_pass(z.mT)
        value, slope = z.clone(), torch.empty_like(z)
        gelu_and_slope_(value, slope, bias, context)
        ours = gelu_(z.clone(), bias, context), value, slope, gelu_(z.clone(), None)
        for wrong in (bias.double(), bias[:8]):
            with pytest.raises(ValueError, match="bias"):
                gelu_(z, wrong)
        with pytest.raises(ValueError, match="slope"):
            gelu_and_slope_(z, slope[0], bias)
    wide = z.double()
    value, slope = gelu_and_slope(wide + bias + context)
    for one, other in zip(ours, (value, value, slope, gelu_and_slope(wide)[0]), strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_is_not_finite_stays_so(kind):
    value = torch.tensor([[float("nan"), float("inf"), -200.0, 200.0]]).to(kind)
    slope = torch.empty_like(value)
    with fusing("on"):
        gelu_and_slope_(value, slope, None)
    assert value[0].isfinite().tolist() == [False, False, True, True]
    assert not slope[0, 0].isfinite()
    torch.testing.assert_close(value[0, 2:].float(), torch.tensor([0.0, 200]))
    torch.testing.assert_close(slope[0, 2:].float(), torch.tensor([0.0, 1]))


def test_without_a_compiler_auto_runs_as_written_and_says_so_once(no_compiler, caplog):
    double, triple = kernel(lambda x: x * 2), kernel(lambda x: x * 3)
    with caplog.at_level(logging.WARNING), fusing("auto"):
        assert double(torch.ones(3)).tolist() == [2, 2, 2]
        assert triple(torch.ones(3)).tolist() == [3, 3, 3]
        assert not in_one_pass(torch.ones(3))
    assert len(said(caplog)) == 1
    assert "without compiled kernels" in said(caplog)[0]


def test_without_a_compiler_on_is_refused(no_compiler):
    with fusing("on"), pytest.raises(UserError, match="set auto or off"):
        kernel(lambda x: x + 1)(torch.ones(3))
    with fusing("on"), pytest.raises(UserError, match="set auto or off"):
        in_one_pass(torch.ones(3))


def test_small_inputs_run_as_written(monkeypatch, no_compiler):
    monkeypatch.setattr(fused, "WORTH_IT", 4)
    with fusing("on"):
        assert kernel(lambda x: x + 1)(torch.ones(3)).tolist() == [2, 2, 2]
        with pytest.raises(UserError):
            kernel(lambda x: x + 1)(torch.ones(4))


def test_a_wrong_input_is_not_blamed_on_the_compiler(caplog):
    add = kernel(lambda a, b: a + b)
    with fusing("auto"), pytest.raises(RuntimeError, match="size"):
        add(torch.ones(3), torch.ones(4))
    assert not said(caplog)
    assert not fused._failed


@pytest.mark.parametrize("wrong", ["bias", "scale", "shift"])
def test_a_kernel_is_not_given_weights_it_would_read_beyond(wrong: str) -> None:
    given = {name: torch.zeros(2, 1, 8) for name in ("bias", "scale", "shift")}
    given[wrong] = torch.zeros(1, 1, 8)
    with fusing("on"), pytest.raises(ValueError, match=wrong):
        gelu_norm(torch.zeros(2, 4, 8), **given)
