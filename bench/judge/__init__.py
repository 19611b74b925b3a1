"""The judge: reloads a distilled set from disk, counts it, trains fresh students on it and scores them.

The names are looked up on first use, because ``bench.judge.protocol`` is also read by code that must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "PROTOCOLS": "protocol",
    "Protocol": "protocol",
    "get_protocol": "protocol",
    "Judgement": "evaluate",
    "judge_folder": "evaluate",
    "validation_accuracy": "evaluate",
    "FullDataJudgement": "full_data",
    "judge_full_data": "full_data",
    "eight_bit": "quantize",
    "Validator": "validation",
    "write_pictures": "pictures",
}

__all__ = [*_HOMES]

if TYPE_CHECKING:
    from .evaluate import Judgement as Judgement
    from .evaluate import judge_folder as judge_folder
    from .evaluate import validation_accuracy as validation_accuracy
    from .full_data import FullDataJudgement as FullDataJudgement
    from .full_data import judge_full_data as judge_full_data
    from .pictures import write_pictures as write_pictures
    from .protocol import PROTOCOLS as PROTOCOLS
    from .protocol import Protocol as Protocol
    from .protocol import get_protocol as get_protocol
    from .quantize import eight_bit as eight_bit
    from .validation import Validator as Validator


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bench.judge' has no attribute '{name}'")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
