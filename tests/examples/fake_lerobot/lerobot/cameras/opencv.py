from dataclasses import dataclass

from lerobot.cameras import CameraConfig


@CameraConfig.register_subclass("opencv")
@dataclass
class OpenCVCameraConfig(CameraConfig):
    index_or_path: int
    width: int
    height: int
    fps: int
