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
    "FORMS": "registry",
    "OBJECTIVES": "registry",
    "SELECTIONS": "registry",
    "PREREQUISITES": "registry",
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
    "DatasetFamily": "dataset_family",
    "load_dataset": "loading",
    "read_array_layout": "array_layout",
    "DistilledSet": "distilled",
    "TrainRecipe": "train_recipe",
    "Form": "form",
    "FormPlan": "form",
    "Method": "method",
    "PlanContext": "method",
    "Refusal": "method",
    "Resolution": "method",
    "Task": "method",
    "Objective": "objective",
    "OuterGradient": "objective",
    "Run": "objective",
    "Streams": "objective",
    "Parameterization": "parameterization",
    "Need": "prerequisite",
    "Prerequisite": "prerequisite",
    "Workshop": "prerequisite",
    "Between": "search",
    "OneOf": "search",
    "deterministic": "selection",
    "on_features": "selection",
    "Space": "space",
    "SweepListener": "sweep.listener",
    "SweepResult": "library",
    "judge_set": "library",
    "load_records": "library",
    "load_set": "library",
    "run_sweep": "library",
    "settings": "library",
    "Student": "nn.student",
    "RealImages": "nn.real",
    "Images": "decoders.images",
}

__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from .array_layout import read_array_layout as read_array_layout
    from .budget import Budget as Budget
    from .budget import BudgetRequest as BudgetRequest
    from .data import Batch as Batch
    from .data import DataOptions as DataOptions
    from .data import Dataset as Dataset
    from .data import Spec as Spec
    from .data import Split as Split
    from .data import about as about
    from .dataset_family import DatasetFamily as DatasetFamily
    from .decoders.images import Images as Images
    from .distilled import DistilledSet as DistilledSet
    from .errors import BenchError as BenchError
    from .errors import RejectedSet as RejectedSet
    from .form import Form as Form
    from .form import FormPlan as FormPlan
    from .library import SweepResult as SweepResult
    from .library import judge_set as judge_set
    from .library import load_records as load_records
    from .library import load_set as load_set
    from .library import run_sweep as run_sweep
    from .library import settings as settings
    from .loading import load_dataset as load_dataset
    from .method import Method as Method
    from .method import PlanContext as PlanContext
    from .method import Refusal as Refusal
    from .method import Resolution as Resolution
    from .method import Task as Task
    from .nn.real import RealImages as RealImages
    from .nn.student import Student as Student
    from .objective import Objective as Objective
    from .objective import OuterGradient as OuterGradient
    from .objective import Run as Run
    from .objective import Streams as Streams
    from .parameterization import Parameterization as Parameterization
    from .prerequisite import Need as Need
    from .prerequisite import Prerequisite as Prerequisite
    from .prerequisite import Workshop as Workshop
    from .registry import DATASETS as DATASETS
    from .registry import FORMS as FORMS
    from .registry import METHODS as METHODS
    from .registry import OBJECTIVES as OBJECTIVES
    from .registry import PARAMETERIZATIONS as PARAMETERIZATIONS
    from .registry import PREREQUISITES as PREREQUISITES
    from .registry import SELECTIONS as SELECTIONS
    from .search import Between as Between
    from .search import OneOf as OneOf
    from .selection import deterministic as deterministic
    from .selection import on_features as on_features
    from .space import Space as Space
    from .sweep.listener import SweepListener as SweepListener
    from .train_recipe import TrainRecipe as TrainRecipe


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
