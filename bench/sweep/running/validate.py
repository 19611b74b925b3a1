"""The stage that scores a set on val and on nothing else: what tuning looks at. No record is written, and test stays closed."""

from __future__ import annotations

import time
from typing import Any

from ...errors import BenchError
from ...judge import validation_accuracy
from ...judge.audit import audit
from ...judge.decoding import load_closed
from .opening import open_cell
from .stage import Payload, Report


def validate_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Train fresh students on the set on disk, and score them on val.

    Returns:
        ``seconds`` this stage took and ``accuracy``, the mean over students on validation images.

    Raises:
        BenchError: the set is not there.
        RejectedSet: the audit says so.
    """
    started = time.monotonic()
    opened = open_cell(payload)
    store = opened.store
    with store.claim(payload.distil_key):
        if store.set_info(payload.distil_key) is None:
            raise BenchError(f"the set {payload.distil_key} is not complete; give the same command again")
        distilled = load_closed(store.set_folder(payload.distil_key), opened.dataset.spec)
    audit(distilled, opened.budget)
    accuracy = validation_accuracy(distilled, opened.dataset, opened.protocol, opened.cell.seed, store.prerequisites, opened.device)
    report(1, 1, {})
    return {"seconds": round(time.monotonic() - started, 3), "accuracy": accuracy}
