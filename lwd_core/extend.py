"""What a package beside LWD builds on: ``from lwd_core.extend import …``.

One protocol or base class for each door of CONTRIBUTING.md, with what its methods are handed. Like the front
door these names are documented and stay; a robot's package loads no torch by them.
"""

from typing import TYPE_CHECKING

from lwd_core.lazy import lazily

if TYPE_CHECKING:
    from lwd_core.exports.export import Exporter, Selection, Written
    from lwd_core.fleet.robot import (
        Button,
        Buttons,
        Controls,
        Observed,
        Person,
        Picture,
        Press,
        Referee,
        Robot,
        RobotType,
        Scene,
        SimulatedRobot,
        TaskQueue,
        Workcell,
    )
    from lwd_core.fleet.task import Job, Task
    from lwd_core.loader.jpeg import decode_frame
    from lwd_core.logs.content import UnreadableLog
    from lwd_core.logs.embodiment import load_embodiment
    from lwd_core.logs.own_format import ArrayReader, MessageReader
    from lwd_core.logs.read import LogReader
    from lwd_core.logs.tabular import TabularEpisode
    from lwd_core.rl.batch import Batch, Noise
    from lwd_core.rl.encoders import Backbone, EncoderConfig, Observation, PictureBackbone
    from lwd_core.rl.extraction import Extraction, Info, PolicyStep
    from lwd_core.rl.flow import ConditionedFlow, flow_matching_loss
    from lwd_core.rl.instruction import InstructionEncoder
    from lwd_core.rl.learners import Algorithm, Trained
    from lwd_core.rl.networks import CriticShape
    from lwd_core.rl.policy import FlowPolicy
    from lwd_core.rl.progress import Progress
    from lwd_core.training.reporting import RunFacts, RunReporter

__all__ = [
    "Algorithm",
    "ArrayReader",
    "Backbone",
    "Batch",
    "Button",
    "Buttons",
    "ConditionedFlow",
    "Controls",
    "CriticShape",
    "EncoderConfig",
    "Exporter",
    "Extraction",
    "FlowPolicy",
    "Info",
    "InstructionEncoder",
    "Job",
    "LogReader",
    "MessageReader",
    "Noise",
    "Observation",
    "Observed",
    "Person",
    "Picture",
    "PictureBackbone",
    "PolicyStep",
    "Press",
    "Progress",
    "Referee",
    "Robot",
    "RobotType",
    "RunFacts",
    "RunReporter",
    "Scene",
    "Selection",
    "SimulatedRobot",
    "TabularEpisode",
    "Task",
    "TaskQueue",
    "Trained",
    "UnreadableLog",
    "Workcell",
    "Written",
    "decode_frame",
    "flow_matching_loss",
    "load_embodiment",
]

_WHERE = {
    "Algorithm": "rl.learners:Algorithm",
    "ArrayReader": "logs.own_format:ArrayReader",
    "Backbone": "rl.encoders:Backbone",
    "Batch": "rl.batch:Batch",
    "Button": "fleet.robot:Button",
    "Buttons": "fleet.robot:Buttons",
    "ConditionedFlow": "rl.flow:ConditionedFlow",
    "Controls": "fleet.robot:Controls",
    "CriticShape": "rl.networks:CriticShape",
    "EncoderConfig": "rl.encoders:EncoderConfig",
    "Exporter": "exports.export:Exporter",
    "Extraction": "rl.extraction:Extraction",
    "FlowPolicy": "rl.policy:FlowPolicy",
    "Info": "rl.extraction:Info",
    "InstructionEncoder": "rl.instruction:InstructionEncoder",
    "Job": "fleet.task:Job",
    "LogReader": "logs.read:LogReader",
    "MessageReader": "logs.own_format:MessageReader",
    "Noise": "rl.batch:Noise",
    "Observation": "rl.encoders:Observation",
    "Observed": "fleet.robot:Observed",
    "Person": "fleet.robot:Person",
    "Picture": "fleet.robot:Picture",
    "PictureBackbone": "rl.encoders:PictureBackbone",
    "PolicyStep": "rl.extraction:PolicyStep",
    "Press": "fleet.robot:Press",
    "Progress": "rl.progress:Progress",
    "Referee": "fleet.robot:Referee",
    "Robot": "fleet.robot:Robot",
    "RobotType": "fleet.robot:RobotType",
    "RunFacts": "training.reporting:RunFacts",
    "RunReporter": "training.reporting:RunReporter",
    "Scene": "fleet.robot:Scene",
    "Selection": "exports.export:Selection",
    "SimulatedRobot": "fleet.robot:SimulatedRobot",
    "TabularEpisode": "logs.tabular:TabularEpisode",
    "Task": "fleet.task:Task",
    "TaskQueue": "fleet.robot:TaskQueue",
    "Trained": "rl.learners:Trained",
    "UnreadableLog": "logs.content:UnreadableLog",
    "Workcell": "fleet.robot:Workcell",
    "Written": "exports.export:Written",
    "decode_frame": "loader.jpeg:decode_frame",
    "flow_matching_loss": "rl.flow:flow_matching_loss",
    "load_embodiment": "logs.embodiment:load_embodiment",
}

__getattr__, __dir__ = lazily(__name__, _WHERE)
