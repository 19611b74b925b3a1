"""Differentiating through a student's training: the interface between objectives and engines.

An objective calls ``advance`` for steps that carry no gradient and ``window_gradient`` for those that do. It never sees
how the gradient is made, so an engine can be replaced without touching an objective.
"""

from .inner import AdamState as AdamState
from .inner import FlatLayout as FlatLayout
from .inner import InnerAdam as InnerAdam
from .plain import WindowGradient as WindowGradient
from .plain import advance as advance
from .plain import window_gradient as window_gradient
