"""ddbench: dataset distillation measured in pixels per dataset.

The names below are all that a plugin author needs, ``from bench import METHODS, Method, Task, DistilledSet, ...``, and
all that a notebook needs: ``bench.run_sweep(bench.settings(budgets=[0.3, 1]))``.
They are looked up on first use, so that ``import bench`` (and with it ``--help`` and ``report``) does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "METHODS": "registry",
    "DATASETS": "registry",
    "PARAMETERIZATIONS": "registry",
    "BenchError": "errors",
    "RejectedSet": "errors",
    "Budget": "budget",
    "BudgetRequest": "budget",
    "Batch": "data",
    "DataOptions": "data",
    "Dataset": "data",
    "Spec": "data",
    "Split": "data",
    "about": "data",
    "load_dataset": "data",
    "read_array_layout": "data",
    "DistilledSet": "distilled",
    "TrainRecipe": "distilled",
    "Method": "method",
    "PlanContext": "method",
    "Resolution": "method",
    "Task": "method",
    "Parameterization": "parameterization",
    "Space": "space",
    "SweepListener": "sweep.listener",
    "SweepResult": "library",
    "judge_set": "library",
    "load_records": "library",
    "load_set": "library",
    "run_sweep": "library",
    "settings": "library",
}

__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from .budget import Budget as Budget
    from .budget import BudgetRequest as BudgetRequest
    from .data import Batch as Batch
    from .data import DataOptions as DataOptions
    from .data import Dataset as Dataset
    from .data import Spec as Spec
    from .data import Split as Split
    from .data import about as about
    from .data import load_dataset as load_dataset
    from .data import read_array_layout as read_array_layout
    from .distilled import DistilledSet as DistilledSet
    from .distilled import TrainRecipe as TrainRecipe
    from .errors import BenchError as BenchError
    from .errors import RejectedSet as RejectedSet
    from .library import SweepResult as SweepResult
    from .library import judge_set as judge_set
    from .library import load_records as load_records
    from .library import load_set as load_set
    from .library import run_sweep as run_sweep
    from .library import settings as settings
    from .method import Method as Method
    from .method import PlanContext as PlanContext
    from .method import Resolution as Resolution
    from .method import Task as Task
    from .parameterization import Parameterization as Parameterization
    from .registry import DATASETS as DATASETS
    from .registry import METHODS as METHODS
    from .registry import PARAMETERIZATIONS as PARAMETERIZATIONS
    from .space import Space as Space
    from .sweep.listener import SweepListener as SweepListener


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
