"""ddbench: dataset distillation measured in pixels per dataset.

The names below are all that a plugin author needs: ``from bench import METHODS, Method, Task, DistilledSet, ...``.
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
    "TrainRecipe": "train_recipe",
    "Method": "method",
    "PlanContext": "method",
    "Resolution": "method",
    "Task": "method",
    "Parameterization": "parameterization",
    "Space": "space",
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
    from .errors import BenchError as BenchError
    from .errors import RejectedSet as RejectedSet
    from .method import Method as Method
    from .method import PlanContext as PlanContext
    from .method import Resolution as Resolution
    from .method import Task as Task
    from .parameterization import Parameterization as Parameterization
    from .registry import DATASETS as DATASETS
    from .registry import METHODS as METHODS
    from .registry import PARAMETERIZATIONS as PARAMETERIZATIONS
    from .space import Space as Space
    from .train_recipe import TrainRecipe as TrainRecipe


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
