"""What a package beside LWD builds on: ``from lwd_core.extend import …``.

One protocol or base class for each door of CONTRIBUTING.md, with what its methods are handed. Like the front
door these names are documented and stay; a robot's package loads no torch by them.
"""

from typing import TYPE_CHECKING

from lwd_core.lazy import lazily

if TYPE_CHECKING:
    from lwd_core.exports.export import Exporter, Selection, Written
    from lwd_core.fleet.robot import Person, Robot, RobotType, Scene, Workcell
    from lwd_core.fleet.task import Task
    from lwd_core.logs.content import UnreadableLog
    from lwd_core.logs.own_format import ArrayReader, MessageReader
    from lwd_core.logs.read import LogReader
    from lwd_core.logs.tabular import TabularEpisode
    from lwd_core.rl.batch import Batch, Noise
    from lwd_core.rl.encoders import Backbone, EncoderConfig, Observation, PictureBackbone
    from lwd_core.rl.extraction import Extraction, Info, PolicyStep
    from lwd_core.rl.flow import ConditionedFlow, flow_matching_loss
    from lwd_core.rl.learners import Algorithm, Trained
    from lwd_core.rl.networks import CriticShape
    from lwd_core.rl.policy import FlowPolicy
    from lwd_core.rl.progress import Progress

__all__ = [
    "Algorithm",
    "ArrayReader",
    "Backbone",
    "Batch",
    "ConditionedFlow",
    "CriticShape",
    "EncoderConfig",
    "Exporter",
    "Extraction",
    "FlowPolicy",
    "Info",
    "LogReader",
    "MessageReader",
    "Noise",
    "Observation",
    "Person",
    "PictureBackbone",
    "PolicyStep",
    "Progress",
    "Robot",
    "RobotType",
    "Scene",
    "Selection",
    "TabularEpisode",
    "Task",
    "Trained",
    "UnreadableLog",
    "Workcell",
    "Written",
    "flow_matching_loss",
]

_WHERE = {
    "Algorithm": "rl.learners:Algorithm",
    "ArrayReader": "logs.own_format:ArrayReader",
    "Backbone": "rl.encoders:Backbone",
    "Batch": "rl.batch:Batch",
    "ConditionedFlow": "rl.flow:ConditionedFlow",
    "CriticShape": "rl.networks:CriticShape",
    "EncoderConfig": "rl.encoders:EncoderConfig",
    "Exporter": "exports.export:Exporter",
    "Extraction": "rl.extraction:Extraction",
    "FlowPolicy": "rl.policy:FlowPolicy",
    "Info": "rl.extraction:Info",
    "LogReader": "logs.read:LogReader",
    "MessageReader": "logs.own_format:MessageReader",
    "Noise": "rl.batch:Noise",
    "Observation": "rl.encoders:Observation",
    "Person": "fleet.robot:Person",
    "PictureBackbone": "rl.encoders:PictureBackbone",
    "PolicyStep": "rl.extraction:PolicyStep",
    "Progress": "rl.progress:Progress",
    "Robot": "fleet.robot:Robot",
    "RobotType": "fleet.robot:RobotType",
    "Scene": "fleet.robot:Scene",
    "Selection": "exports.export:Selection",
    "TabularEpisode": "logs.tabular:TabularEpisode",
    "Task": "fleet.task:Task",
    "Trained": "rl.learners:Trained",
    "UnreadableLog": "logs.content:UnreadableLog",
    "Workcell": "fleet.robot:Workcell",
    "Written": "exports.export:Written",
    "flow_matching_loss": "rl.flow:flow_matching_loss",
}

__getattr__, __dir__ = lazily(__name__, _WHERE)
