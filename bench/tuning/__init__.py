"""Equal tuning: the same random search for every method, on validation images alone, with every trial kept."""

from .settings import TuningSettings as TuningSettings
from .tuner import Tuned as Tuned
from .tuner import tune as tune
