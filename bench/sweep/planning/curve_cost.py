"""Whether a cell's set is scored on val on the way: where it is asked for, or costs little beside the cell itself."""

from __future__ import annotations

from dataclasses import replace

from ...data import Dataset
from ...judge.protocol import Protocol
from ...nn.networks import build_network, default_network, flops_per_image
from ..curve_steps import STUDENTS, curve_steps
from .estimate import distil_flops, judge_flops, presented_examples
from .plan import Plan, PlannedCell

#: The most that a curve may cost of a cell where nobody asked for it.
_SHARE = 0.1
#: The process in which its students train imports torch and opens the data: in that time a core does about so many operations.
_START_FLOPS = 2e11


def wants_curve(planned: PlannedCell, plan: Plan, asked: str) -> bool:
    """Tell whether the set of a cell is to be scored on val on the way.

    ``auto`` compares counted operations, never times, so that every machine decides alike; a method that does not count
    its own gets no curve by itself.

    Args:
        planned: the cell.
        plan: its plan.
        asked: ``on``, ``off`` or ``auto``.
    """
    cell, dataset = planned.cell, plan.datasets[planned.cell.dataset]
    if asked == "off" or cell.kind == "full_data" or not cell.outer_steps or dataset.val is None:
        return False
    if asked == "on":
        return True
    distil, presented = distil_flops(planned), presented_examples(planned, dataset.spec, plan.protocol)
    if distil is None or presented is None:
        return False
    judge = judge_flops(dataset, plan.protocol, cell.network, presented)
    return curve_flops(dataset, plan.protocol, cell.network, presented, cell.outer_steps) <= _SHARE * (distil + judge)


def curve_flops(dataset: Dataset, protocol: Protocol, network_name: str, presented: int, outer_steps: int) -> float:
    """Count the arithmetic of a curve: at each of its points few students are trained, and scored on val."""
    network = build_network(network_name or default_network(dataset.spec), dataset.spec)
    few = replace(protocol, students=min(STUDENTS, protocol.students))
    rates = len(few.common.lr_grid) * min(few.common.lr_students, few.students) if few.common else 0
    each = (few.students + rates) * (3.0 * presented + len(dataset.val or ()))
    return _START_FLOPS + len(curve_steps(outer_steps)) * flops_per_image(network, dataset.spec) * each
