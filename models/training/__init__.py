"""Turn forward graphs into graphs of one training iteration, dense or N:M sparse."""

from models.training.graph import training_graph
from models.training.masks import TrainingMethod
from models.training.schedule import Frame, TrainingSchedule, parse_schedule
from models.training.totals import TrainingMacs, training_macs

__all__ = [
    "Frame",
    "TrainingMacs",
    "TrainingMethod",
    "TrainingSchedule",
    "parse_schedule",
    "training_graph",
    "training_macs",
]
