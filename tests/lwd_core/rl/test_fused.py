"""Compiled kernels say what the written ones say, and are done without where nothing can be compiled."""

import logging

import pytest
import torch
from torch._inductor import config as inductor
from torch._inductor.utils import fresh_cache

from lwd_core.errors import UserError
from lwd_core.rl import fused
from lwd_core.rl.fused import fusing, kernel
from lwd_core.rl.gelu import gelu_and_slope, gelu_norm

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from the compiler itself


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(fused, "WORTH_IT", 0)


@pytest.fixture
def no_compiler(monkeypatch):
    """Nothing compiled before can be found again, and there is no C++ compiler."""
    monkeypatch.setattr(fused, "_failed", False)
    with inductor.patch({"cpp.cxx": ("/nowhere/c++",)}), fresh_cache():
        yield


def said(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == fused.__name__]


def test_compiled_kernels_agree_with_the_written_ones():
    torch.manual_seed(0)
    z, g = torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    scale, shift = torch.rand(2, 1, 16), torch.randn(2, 1, 16)
    results = []
    for mode in ("off", "on"):
        leaves = [t.clone().requires_grad_() for t in (z, scale, shift)]
        with fusing(mode):
            y = gelu_norm(*leaves)
            gradients = torch.autograd.grad(y, leaves, g)
            results.append((y, *gradients, *gelu_and_slope(z)))
    for written, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, written, atol=2e-6, rtol=1e-5)


def test_without_a_compiler_auto_runs_as_written_and_says_so_once(no_compiler, caplog):
    double, triple = kernel(lambda x: x * 2), kernel(lambda x: x * 3)
    with caplog.at_level(logging.WARNING), fusing("auto"):
        assert double(torch.ones(3)).tolist() == [2, 2, 2]
        assert triple(torch.ones(3)).tolist() == [3, 3, 3]
    assert len(said(caplog)) == 1
    assert "without compiled kernels" in said(caplog)[0]


def test_without_a_compiler_on_is_refused(no_compiler):
    with fusing("on"), pytest.raises(UserError, match="set auto or off"):
        kernel(lambda x: x + 1)(torch.ones(3))


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
