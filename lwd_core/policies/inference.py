"""A policy as a robot runs it: a verified bundle, numpy in and numpy out."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.loader.jpeg import decode_frame, scale_frame
from lwd_core.policies.bundle import BadBundle, Bundle, load_bundle, save_bundle
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from storage_schemas.policy import Lineage, PolicyManifest

#: A picture as a robot has it: JPEG bytes, or (h, w, 3) u8 RGB.
Frame = bytes | npt.NDArray[np.uint8]

#: Weights of the network and embeddings of known instructions share one file; this parts them.
_EMBEDDINGS = "instructions.embeddings"


class Policy:
    """Runs a bundle. Instructions the bundle knows need no sentence encoder."""

    def __init__(self, bundle: Bundle) -> None:
        self.policy_id = bundle.policy_id
        self.manifest = bundle.manifest
        weights = dict(bundle.weights)
        embeddings = weights.pop(_EMBEDDINGS)
        self._encoder = InstructionEncoder(
            dict(zip(bundle.manifest.instructions, embeddings, strict=True)),
        )
        self._model = FlowPolicy(PolicyConfig.from_dict(bundle.manifest.network))
        self._model.load_state_dict(weights)
        self._model.eval()
        self._vision = self._model.config.field.encoder.vision

    @classmethod
    def load(cls, uri: str, trusted: Mapping[str, Ed25519PublicKey]) -> "Policy":
        """Load and verify the bundle at ``uri``. Raises BadBundle."""
        bundle = load_bundle(uri, dict(trusted))
        try:
            return cls(bundle)
        except (ValueError, KeyError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise BadBundle(f"{uri}: weights and network do not fit ({line}); release it anew") from error

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras it must be shown; none if it acts by proprioception alone."""
        return self._vision.cameras if self._vision else ()

    @property
    def chunk(self) -> int:
        """Actions proposed at a time."""
        return self._model.config.field.chunk

    def act(
        self,
        states: npt.NDArray[np.float32],
        instructions: list[str],
        generator: np.random.Generator,
        frames: Sequence[Mapping[str, Frame]] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Action chunks (B, H, D) for states (B, S), in raw units and within the action limits.

        ``generator`` is the only source of randomness. ``frames``: for each state what its cameras show, by
        their names, as JPEG bytes or (h, w, 3) u8 RGB of any size; not looked at without `cameras`. Raises
        UserError where the state is not as wide as the policy's or a camera is missing.
        """
        field = self._model.config.field
        if states.ndim != 2 or states.shape[1] != field.encoder.state_dim:
            raise UserError(
                f"policy {self.policy_id}: takes states of {field.encoder.state_dim} numbers, got "
                f"{states.shape[-1]}; check the robot's embodiment file"
            )
        noise = generator.standard_normal(self._model.noise_shape(len(states)), dtype=np.float32)
        with torch.inference_mode():
            chunks = self._model(
                torch.as_tensor(np.ascontiguousarray(states, dtype=np.float32)),
                self._encoder(instructions),
                torch.as_tensor(noise),
                image=self._images(len(states), frames) if self._vision else None,
            )
        return chunks.numpy()

    def _images(self, count: int, frames: Sequence[Mapping[str, Frame]] | None) -> Tensor:
        """(B, C, height, width, 3) u8, scaled as in training."""
        assert self._vision is not None
        if frames is None or len(frames) != count:
            raise UserError(
                f"policy {self.policy_id}: sees {', '.join(self.cameras)}; give a frame of each a state"
            )
        shape = (count, len(self.cameras), self._vision.height, self._vision.width, 3)
        images = torch.empty(shape, dtype=torch.uint8)
        for shown, row in zip(frames, images.numpy(), strict=True):
            for name, out in zip(self.cameras, row, strict=True):
                if name not in shown:
                    raise UserError(
                        f"policy {self.policy_id}: camera {name} is not among {', '.join(shown) or 'none'}; "
                        "check the robot's embodiment file"
                    )
                _into(shown[name], out, f"policy {self.policy_id}: camera {name}")
        return images


def _into(frame: Frame, out: npt.NDArray[np.uint8], where: str) -> None:
    if isinstance(frame, bytes):
        try:
            decode_frame(frame, out)
        except ValueError as error:
            raise UserError(f"{where}: no JPEG ({error}); send whole frames") from error
    elif frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        scale_frame(frame, out)
    else:
        raise UserError(f"{where}: {frame.dtype} of shape {frame.shape}; give (height, width, 3) uint8, RGB")


def save_policy(
    policies: str,
    model: FlowPolicy,
    instructions: Mapping[str, Tensor],
    *,
    embodiments: dict[str, dict[str, int]],
    config: dict[str, object],
    lineage: Lineage,
    key: Ed25519PrivateKey,
) -> Bundle:
    """Write a trained policy as a signed bundle.

    ``instructions`` are the texts it was trained on with their embeddings (384,);
    ``embodiments`` maps a name to its ``state`` and ``action`` widths.
    """
    texts = sorted(instructions)
    if not texts:
        raise ValueError("a policy needs at least one instruction")
    manifest = PolicyManifest(
        network=model.config.to_dict(),
        embodiments=embodiments,
        instructions=tuple(texts),
        config=config,
        lineage=lineage,
        weights_sha256="",
    )
    weights = {**model.state_dict(), _EMBEDDINGS: torch.stack([instructions[text] for text in texts])}
    return save_bundle(policies, manifest, weights, key)
