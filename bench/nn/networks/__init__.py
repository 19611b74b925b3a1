"""The field's networks, one file per family, initialised from an explicit generator, for one student or for many at once."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from .build import build_network as build_network
from .build import check_network_name as check_network_name
from .build import default_network as default_network
from .convnet import ConvNet as ConvNet
from .cost import flops_per_image as flops_per_image
from .ensemble import ensemble_mode as ensemble_mode
from .ensemble import grouped_forward as grouped_forward
from .ensemble import shared_forward as shared_forward
from .features import features as features
from .parameters import Parameters as Parameters
from .parameters import forward as forward
from .parameters import initial_parameters as initial_parameters
from .parameters import stack as stack


def import_families() -> None:
    """Import every file of this folder, so that a family is known as soon as its file lies here."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


import_families()
