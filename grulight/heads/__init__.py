"""What a network's answers mean: their loss, their metric, and what they predict.

An answer belongs to a sequence or to a time step; the arithmetic is the same for both. ``base``
says what every head has; there is a head for classes, one for labels and one for values.
"""

from grulight.heads.base import Columns, Head, Score
from grulight.heads.class_head import ClassHead
from grulight.heads.label_head import LabelHead
from grulight.heads.value_head import ValueHead

__all__ = ["ClassHead", "Columns", "Head", "LabelHead", "Score", "ValueHead"]
