"""How stored numbers become labelled images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .data import Batch, Spec

Role = Literal["image", "label", "other"]
LabelKind = Literal["probabilities", "weights", "centred"]


class Parameterization(nn.Module, ABC):
    """Numbers in, labelled images out. Its ``state_dict()`` is the storage that the audit counts.

    A concrete parameterization registers itself: ``@PARAMETERIZATIONS.register("images")``. It is rebuilt from
    ``config()`` and its tensors alone, so everything that decoding needs must be in one of the two; what is in
    ``config()`` is geometry (sizes, counts, a class order), never content.

    Attributes:
        name: registered name, written into manifests.
        version: raised when the same numbers decode to other images.
        roles: role of every tensor of ``state_dict()``; a tensor without a role makes the audit reject the set.
        label_kind: what a row of labels is: ``probabilities`` (sums to one), ``weights`` (any non-negative target) or
            ``centred`` (sums to zero).

    Example:
        >>> from bench import Spec
        >>> from bench.decoders.images import Images
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> stored = Images(spec, count=4, size=(4, 4))
        >>> stored.pixels, tuple(stored.decode().images.shape)
        (64, (4, 1, 8, 8))
        >>> len(Images.from_config(stored.config(), spec))
        4
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    roles: ClassVar[Mapping[str, Role]]
    label_kind: LabelKind = "probabilities"

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the plain-JSON geometry from which ``from_config`` rebuilds this object (without its tensors)."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Parameterization:
        """Rebuild an object with tensors of the right shapes, to be filled by ``load_state_dict``.

        By default ``config()`` has the constructor's arguments beside the data set.
        """
        return cls(spec, **config)  # type: ignore[call-arg]

    @classmethod
    def shapes(cls, config: Mapping[str, Any], spec: Spec) -> Mapping[str, tuple[int, ...]] | None:
        """Return the shape of every stored tensor of a config, or ``None`` if only ``from_config`` can tell.

        A file is compared with it before ``from_config`` makes room for what a config, whoever wrote it, asks for.
        """
        del config, spec
        return None

    @abstractmethod
    def __len__(self) -> int:
        """Number of images that decoding all of it gives."""

    @abstractmethod
    def decode(self, index: Tensor | None = None) -> Batch:
        """Decode the images at ``index`` (all of them without one).

        Returns:
            Batch of images (n, c, h, w) in the shape of the data set and labels (n, classes), differentiable with
            respect to the stored tensors.
        """

    @abstractmethod
    def write(self, images: Tensor, labels: Tensor) -> None:
        """Store ``images`` (n, c, h, w) with integer ``labels`` (n,) as well as the stored numbers can hold them."""

    def write_labels(self, labels: Tensor) -> None:
        """Store a (n, classes) row of labels for every decoded image, in the order of ``decode``.

        Raises:
            NotImplementedError: it has no room for them.
        """
        del labels
        raise NotImplementedError(f"parameterization '{self.name}' stores no row of labels for every image")

    def slots(self) -> Tensor:
        """Return the class of every image that ``write`` takes, (n,) int64, equal classes together.

        By default as many of every class as it decodes to.

        Raises:
            NotImplementedError: it decodes to more images of some classes than of others, and does not say which it takes.
        """
        classes: int = self.spec.classes  # type: ignore[assignment, union-attr]
        if len(self) % classes:
            raise NotImplementedError(f"parameterization '{self.name}' does not say which images it can be filled with")
        return torch.arange(classes).repeat_interleave(len(self) // classes)

    def trained(self) -> dict[str, Tensor]:
        """Return the stored tensors that an optimizer moves, by name."""
        return {name: tensor for name, tensor in self.named_parameters() if tensor.requires_grad}

    @torch.no_grad()
    def project(self) -> None:
        """Bring the stored numbers back to legal values after a step; by default targets are kept non-negative."""
        if self.label_kind != "centred":
            for name, tensor in self.trained().items():
                if self.roles[name] == "label":
                    tensor.clamp_(min=0.0)

    @property
    def pixels(self) -> int:
        """Pixel-equivalents: all stored numbers that are not labels, over the channels, rounded up; charged labels come on top."""
        stored = sum(t.numel() for key, t in self.state_dict().items() if self.roles.get(key) != "label")
        return -(-stored // self.channels)

    @property
    def channels(self) -> int:
        """Colour channels of a decoded image; by default those of the data set, which the constructor keeps as ``spec``."""
        return int(self.spec.channels)  # type: ignore[arg-type, union-attr]


@runtime_checkable
class Canvas(Protocol):
    """What a parameterization offers if all its images are patches of one larger image; pictures then show that one."""

    def canvas(self) -> Tensor:
        """Return the larger image (c, H, W) in its own coordinates."""
        ...

    def patch_positions(self) -> list[tuple[int, int]]:
        """Return (y, x) of the upper left corner of every patch, in the order of ``decode``."""
        ...

    def class_map(self) -> Tensor:
        """Return which class (H, W) int64 every pixel of the canvas belongs to."""
        ...
