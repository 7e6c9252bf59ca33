"""Low-rank adapters (LoRA, arXiv 2106.09685): a frozen layer, and beside it the product of two thin matrices
that learns."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: What is adapted: the products of attention and MLP.
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraLinear(nn.Linear):
    """y = W x + b + scale · B A x. W and b are a layer's that it stands for, and frozen; B begins at 0."""

    def __init__(self, of: nn.Linear, rank: int, scale: float):
        super().__init__(of.in_features, of.out_features, device="meta")  # pyright: ignore[reportUnknownMemberType]
        self.weight, self.bias, self.scale = of.weight, of.bias, scale
        self.lora_a = nn.Parameter(torch.empty(rank, of.in_features))
        self.lora_b = nn.Parameter(torch.zeros(of.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=5**0.5)

    def forward(self, input: Tensor) -> Tensor:
        thin = F.linear(input, self.lora_a.to(input.dtype))
        return super().forward(input) + self.scale * F.linear(thin, self.lora_b.to(input.dtype))

    def merged(self) -> Tensor:
        """W + scale · B A, f32."""
        return self.weight.float() + self.scale * (self.lora_b @ self.lora_a)


def adapt(stack: nn.Module, rank: int, scale: float) -> None:
    """Put adapters into the layers of a stack, in place."""
    for module in list(stack.modules()):
        for name, layer in list(module.named_children()):
            if name in ADAPTED and isinstance(layer, nn.Linear):
                setattr(module, name, LoraLinear(layer, rank, scale))
