"""What names a cell: a hash of everything that can change its set, and of nothing else."""

from __future__ import annotations

from ...keys import digest
from ...record import SCHEMA, Cell


def distil_key(cell: Cell) -> str:
    """Return the key of a cell's distilled set: a hash of everything that can change it, and of nothing else.

    A method that is made of parts is named by these and their versions, so that ``podd[objective=mtt]`` and
    ``mtt[form=poster]`` are one cell if they agree in every field. The pixel space is among the resolved fields, the
    class order in the plan; the data hash carries the name of the data set. Device, back end, versions and code are
    recorded, not keyed.
    """
    return digest(
        {
            "schema": SCHEMA,
            **cell.identity,
            "fields": {name: value for name, value in cell.fields.items() if name not in cell.unkeyed},
            "plan": cell.plan,
            # What planning looked into has done its work: it stands in the plan.
            "prerequisites": sorted(needed["key"] for needed in cell.prerequisites if needed["used"] == "distilling"),
            "data": cell.data_hash,
            "split": cell.split,
            "pixels": cell.budget["pixels"],
            "seed": cell.seed,
            "effort": cell.effort,
        }
    )
