"""Differentiating through a student's training: the interface between objectives and engines.

An objective asks ``choose_engine`` for an engine, calls ``engine.advance`` for steps that carry no gradient and
``engine.window_gradient`` for those that do. It never sees how the gradient is made, so an engine can be replaced
without touching an objective. The two functions of these names are the plain unroll, the reference for all engines.
"""

from .choose import Engine as Engine
from .choose import EngineName as EngineName
from .choose import choose_engine as choose_engine
from .choose import choose_sweep as choose_sweep
from .choose import engine_facts as engine_facts
from .inner import AdamState as AdamState
from .inner import FlatLayout as FlatLayout
from .inner import InnerAdam as InnerAdam
from .inner import InnerSGD as InnerSGD
from .inner import SGDState as SGDState
from .outer import ExpertDistance as ExpertDistance
from .outer import OuterLoss as OuterLoss
from .outer import RealBatchLoss as RealBatchLoss
from .plain import WindowGradient as WindowGradient
from .plain import advance as advance
from .plain import window_gradient as window_gradient
from .sweep import SweepEngine as SweepEngine
