"""A policy as a program of torch.export: runs wherever torch does, without this package."""

import io

import torch

from lwd_core.errors import UserError
from lwd_core.rl.policy import FlowPolicy


def export_program(policy: FlowPolicy, batch: int | None = None) -> bytes:
    """The program's .pt2 bytes; called as (state (B, S), embedding (B, E), noise) it gives raw actions.

    A policy with cameras also takes ``image=`` (B, C, height, width, 3) u8, RGB; one that sees by a
    pretrained backbone features of them (B, C, F) f32.
    ``batch`` fixes B; any B from 2 up otherwise. ``torch.export.load(io.BytesIO(data)).module()`` runs it.
    """
    field = policy.config.field
    if field.kind is not None:
        raise UserError(
            "a policy learned on a checkpoint of another project is no program of torch.export; "
            "`lwd export policy` gives it back in that one's layout"
        )
    size = batch or 2
    example = (
        torch.zeros(size, field.encoder.state_dim),
        torch.zeros(size, field.encoder.instruction_dim),
        torch.zeros(policy.noise_shape(size)),
    )
    shapes = None
    if batch is None:
        rows = torch.export.Dim("batch", min=2, max=1 << 16)
        shapes = {"state": {0: rows}, "instruction": {0: rows}, "noise": {example[2].ndim - 3: rows}}
    vision, more = field.encoder.vision, dict[str, torch.Tensor]()
    if vision is not None:
        picture = torch.zeros(vision.height, vision.width, 3, dtype=torch.uint8)
        one = torch.zeros(vision.pretrained.made.width) if vision.pretrained else picture
        more["image"] = one.expand(size, len(vision.cameras), *one.shape).clone()
        if shapes is not None:
            shapes["image"] = shapes["state"]
    with torch.no_grad():
        program = torch.export.export(policy.eval(), example, more, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()
