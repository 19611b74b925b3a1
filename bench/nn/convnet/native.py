"""The ConvNet's gradient and Hessian-vector product by the compiled kernels (see ``kernels.cpp``)."""

from __future__ import annotations

import ctypes
from weakref import finalize

import torch
from torch import Tensor

from ...data import Batch
from ..networks import ConvNet
from . import library
from .packing import Packing

_MICRO_BATCH_BYTES = 1 << 20  # what a core's second-level cache holds


class NativeConvNet:
    """Gradients of ``soft_cross_entropy`` of one ConvNet on the CPU, in float32 or float64, with one thread.

    Parameters are handed over packed (``pack``); all vectors of the same student can stay packed, because optimizers
    act number by number. Micro-batches are cut inside, by bytes.
    """

    def __init__(self, network: ConvNet, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
        """Prepare for images of ``shape`` (c, h, w).

        Raises:
            RuntimeError: there is no compiled library.
        """
        kernels, reason = library.load()
        if kernels is None:
            raise RuntimeError(reason)
        self.library, self.dtype, wide = kernels, dtype, int(dtype == torch.float64)
        self.classes, self.shape = network.head.out_features, shape
        pads = (ctypes.c_int * network.depth)(*network.paddings)
        self.handle = kernels.ddbench_create(wide, network.depth, network.width, *shape, self.classes, pads, _MICRO_BATCH_BYTES)
        if not self.handle:
            raise RuntimeError("the compiled engine could not prepare this network")
        finalize(self, kernels.ddbench_destroy, self.handle)
        parameters, tape = ctypes.c_size_t(), ctypes.c_size_t()
        kernels.ddbench_sizes(self.handle, ctypes.byref(parameters), ctypes.byref(tape))
        self.packing = Packing.of(network, shape, kernels.ddbench_lanes(wide))
        if self.packing.size != parameters.value:
            raise RuntimeError("the compiled engine and the packing disagree about the network's size")
        self.tape_numbers = tape.value
        self._loss = ctypes.c_double()

    def pack(self, theta: Tensor) -> Tensor:
        """Bring a (P,) vector in the network's order into the kernels' order."""
        return self.packing.pack(theta)

    def unpack(self, packed: Tensor) -> Tensor:
        """Undo ``pack``."""
        return self.packing.unpack(packed)

    def tape_bytes(self, images: int) -> int:
        """Return how large the tape of a gradient of so many images is."""
        return images * self.tape_numbers * self.dtype.itemsize

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, Tensor | None, float]:
        """Return the packed gradient, the tape if ``keep``, and the loss."""
        images, labels = self._batch(batch)
        out = torch.zeros_like(theta)
        tape = theta.new_empty(len(images) * self.tape_numbers) if keep else None
        failed = self.library.ddbench_gradient(
            self.handle, theta.data_ptr(), images.data_ptr(), labels.data_ptr(), len(images), 1.0 / len(images),
            out.data_ptr(), None if tape is None else tape.data_ptr(), ctypes.byref(self._loss),
        )  # fmt: skip
        if failed:
            raise MemoryError("the compiled engine ran out of memory")
        return out, tape, self._loss.value

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tangents along ``direction`` of the gradients of parameters (packed), images and labels."""
        images, labels = self._batch(batch)
        out, dx, dy = torch.zeros_like(theta), torch.empty_like(images), torch.empty_like(labels)
        failed = self.library.ddbench_product(
            self.handle, theta.data_ptr(), direction.data_ptr(), images.data_ptr(), labels.data_ptr(), len(images), 1.0 / len(images),
            None if tape is None else tape.data_ptr(), out.data_ptr(), dx.data_ptr(), dy.data_ptr(),
        )  # fmt: skip
        if failed:
            raise MemoryError("the compiled engine ran out of memory")
        return out, dx, dy

    def logits(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the (n, k) logits at packed parameters."""
        images = self._images(images)
        out = images.new_empty(len(images), self.classes)
        if self.library.ddbench_logits(self.handle, theta.data_ptr(), images.data_ptr(), len(images), out.data_ptr()):
            raise MemoryError("the compiled engine ran out of memory")
        return out

    def features(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the (n, d) inputs of the last layer at packed parameters, in the network's order."""
        images = self._images(images)
        out = images.new_empty(len(images), self.packing.row)
        if self.library.ddbench_features(self.handle, theta.data_ptr(), images.data_ptr(), len(images), out.data_ptr()):
            raise MemoryError("the compiled engine ran out of memory")
        return out[:, self.packing.features]

    def _batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return images and labels as the kernels read them."""
        images, labels = self._images(batch.images), batch.labels.detach().to(self.dtype).contiguous()
        if labels.shape != (len(images), self.classes):
            raise ValueError(f"{len(images)} images need labels ({len(images)}, {self.classes}), found {tuple(labels.shape)}")
        return images, labels

    def _images(self, images: Tensor) -> Tensor:
        """Return images contiguous; the kernels see an address alone, so type and shape are checked here."""
        if images.dtype != self.dtype or images.device.type != "cpu" or tuple(images.shape[1:]) != self.shape:
            found = f"{images.dtype} {tuple(images.shape)} on {images.device.type}"
            raise ValueError(f"the compiled engine takes {self.dtype} images {self.shape} on the CPU, found {found}")
        return images.detach().contiguous()
