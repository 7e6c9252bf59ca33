import io

import pytest
import torch

from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.networks import CriticConfig, FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.training.program import export_program


def policy(best_of: int) -> FlowPolicy:
    torch.manual_seed(0)
    encoder = EncoderConfig(39)
    critic = CriticConfig(encoder, 4, 5, atoms=0) if best_of > 1 else None
    return FlowPolicy(PolicyConfig(FieldConfig(encoder, 4, 5), best_of=best_of, critic=critic))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("best_of", "batch"), [(1, None), (1, 1), (4, 1)])
def test_the_program_acts_as_the_policy_does(best_of, batch):
    ours = policy(best_of)
    program = torch.export.load(io.BytesIO(export_program(ours, batch))).module()
    size = batch or 7
    inputs = torch.randn(size, 39), torch.randn(size, 384), torch.randn(ours.noise_shape(size))
    with torch.no_grad():
        torch.testing.assert_close(program(*inputs), ours(*inputs), atol=1e-5, rtol=0)
