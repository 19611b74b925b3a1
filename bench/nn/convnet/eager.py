"""Gradients and Hessian-vector products of K ConvNets at once, written out in PyTorch's operations, on any device.

The students see the same batch. The K·C channels of a block lie side by side and its convolution is grouped; the first
one reads the images that all share and needs no groups. Two functions per block and direction: values
(``_block_forward``, ``_block_backward``) and their tangents (``_block_tangent``, ``_block_second``). The equations are
in docs/engine.md.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data import Batch
from ..networks import ConvNet, Parameters

_PLANE = (2, 3)
_EPS = 1e-5  # of nn.GroupNorm


class BlockTape(NamedTuple):
    """What one block keeps for the second-order pass.

    Attributes:
        x: (n, c, h, w) images of the first block, (n, K·C, h, w) input of the others.
        n: (n, K·C, h, w) normalised convolution.
        r: (n, K·C, 1, 1) inverse standard deviation.
        active: (n, K·C, h, w) output of the ReLU.
        active_bar: (n, K·C, h, w) gradient before pooling and ReLU; empty until the way back.
    """

    x: Tensor
    n: Tensor
    r: Tensor
    active: Tensor
    active_bar: Tensor


class BlockTangent(NamedTuple):
    """Tangents of one block's forward pass.

    Attributes:
        x: of the input; none for the images, which do not move.
        n: of the normalised convolution.
        s: (n, K·C, 1, 1) mean of n·ν.
    """

    x: Tensor | None
    n: Tensor
    s: Tensor


class NetTape(NamedTuple):
    """What a gradient keeps for ``product``.

    Attributes:
        blocks: per block, in order.
        features: (K, n, f) input of the head.
        p: (K, n, k) softmax.
        delta: (K, n, k) gradient of the logits.
    """

    blocks: list[BlockTape]
    features: Tensor
    p: Tensor
    delta: Tensor


class EagerConvNet:
    """Derivatives of ``soft_cross_entropy`` of K ConvNets with respect to parameters, images and labels.

    Parameters and directions are stacked (K, ...). The bias of a convolution before instance norm changes nothing, so
    its derivatives are exactly zero here.
    """

    def __init__(self, network: ConvNet, cast: torch.dtype | None = None) -> None:
        """Take over the sizes of ``network``.

        Args:
            network: the student.
            cast: type to which inputs of convolutions and matrix products are rounded, or none; all else keeps its own.
        """
        self.depth, self.width, self.paddings, self.cast = network.depth, network.width, network.paddings, cast

    @torch.no_grad()
    def gradient(self, parameters: Parameters, batch: Batch) -> tuple[Parameters, NetTape, Tensor]:
        """Return every student's gradient of its own loss, the tape for ``product``, and the (K,) losses."""
        x, labels = batch.images.detach(), batch.labels.detach()
        tapes = []
        for block in range(self.depth):
            x, tape = self._block_forward(parameters, block, x)
            tapes.append(tape)
        weight = parameters["head.weight"]
        features = _by_student(x, len(weight))
        log_p = F.log_softmax(self._product(features, weight.transpose(1, 2), parameters["head.bias"].unsqueeze(1)), 2)
        losses = -(labels * log_p).sum(2).mean(1)
        p = log_p.exp()
        delta = (p * labels.sum(1, keepdim=True) - labels).div_(len(x))
        out = {"head.weight": self._product(delta.transpose(1, 2), features), "head.bias": delta.sum(1)}
        pooled = _by_image(self._product(delta, weight), x.shape)
        for block in reversed(range(self.depth)):
            tapes[block] = tapes[block]._replace(active_bar=self._unpool(tapes[block], pooled))
            pooled = self._block_backward(parameters, block, tapes[block], out)
        return out, NetTape(tapes, features, p, delta), losses

    @torch.no_grad()
    def product(self, parameters: Parameters, direction: Parameters, batch: Batch, tape: NetTape) -> tuple[Parameters, Tensor, Tensor]:
        """Return the tangents along ``direction`` of the gradients of parameters, and of images and labels, summed over students."""
        labels, count = batch.labels.detach(), len(batch.images)
        dot: Tensor | None = None
        tangents = []
        for block in range(self.depth):
            dot, tangent = self._block_tangent(parameters, direction, block, tape.blocks[block], dot)
            tangents.append(tangent)
        assert dot is not None  # a ConvNet has at least one block
        w, w_dot = parameters["head.weight"], direction["head.weight"]
        features_dot = _by_student(dot, len(w))
        logits_dot = self._product(tape.features, w_dot.transpose(1, 2), direction["head.bias"].unsqueeze(1))
        logits_dot = self._product(features_dot, w.transpose(1, 2), logits_dot)
        moved = (logits_dot - (tape.p * logits_dot).sum(2, keepdim=True)).div_(count)
        delta_dot = tape.p * moved * labels.sum(1, keepdim=True)
        out = {
            "head.weight": self._product(tape.delta.transpose(1, 2), features_dot, self._product(delta_dot.transpose(1, 2), tape.features)),
            "head.bias": delta_dot.sum(1),
        }
        pooled_dot = _by_image(self._product(tape.delta, w_dot, self._product(delta_dot, w)), dot.shape)
        for block in reversed(range(self.depth)):
            pooled_dot = self._block_second((parameters, direction), block, tape.blocks[block], tangents[block], pooled_dot, out)
        return out, pooled_dot, -moved.sum(0)

    def _block_forward(self, parameters: Parameters, block: int, x: Tensor) -> tuple[Tensor, BlockTape]:
        z = self._conv(block, x, parameters)
        gain, bias = _columns(parameters, block)
        n = z - z.mean(_PLANE, keepdim=True)
        r = n.square().mean(_PLANE, keepdim=True).add_(_EPS).rsqrt_()  # a third of the time of torch.var_mean on small planes
        n.mul_(r)
        active = torch.addcmul(bias, n, gain).relu_()
        return F.avg_pool2d(active, 2), BlockTape(x, n, r, active, x.new_empty(0))

    def _block_backward(self, parameters: Parameters, block: int, tape: BlockTape, out: Parameters) -> Tensor:
        abar = tape.active_bar
        gain = _columns(parameters, block)[0]
        total, total_n = abar.sum(_PLANE, keepdim=True), (abar * tape.n).sum(_PLANE, keepdim=True)
        self._norm_gradients(block, total_n, total, out)
        size = _area(tape.n)
        zbar = (abar - (total / size)).sub_(tape.n * (total_n / size)).mul_(tape.r * gain)
        x_bar, out[f"convs.{block}.weight"] = self._conv_backward(block, zbar, tape.x, parameters, block > 0, True)
        return x_bar

    def _block_tangent(
        self, parameters: Parameters, direction: Parameters, block: int, tape: BlockTape, x_dot: Tensor | None
    ) -> tuple[Tensor, BlockTangent]:
        """Return the tangent of the block's output, and what the way back needs."""
        z_dot = self._conv(block, tape.x, direction)
        if x_dot is not None:
            z_dot += self._conv(block, x_dot, parameters)
        gain, gain_dot = _columns(parameters, block)[0], _columns(direction, block)[0]
        s = tape.r * (tape.n * z_dot).mean(_PLANE, keepdim=True)
        n_dot = (z_dot - z_dot.mean(_PLANE, keepdim=True)).mul_(tape.r).addcmul_(tape.n, s, value=-1.0)
        a_dot = torch.addcmul(_columns(direction, block)[1], tape.n, gain_dot).addcmul_(n_dot, gain)
        return F.avg_pool2d(torch.ops.aten.threshold_backward(a_dot, tape.active, 0.0), 2), BlockTangent(x_dot, n_dot, s)

    def _block_second(
        self, both: tuple[Parameters, Parameters], block: int, tape: BlockTape, tangent: BlockTangent, pooled_dot: Tensor, out: Parameters
    ) -> Tensor:
        """Return the tangent of the gradient of the block's input; fill in those of its parameters."""
        (parameters, direction), (x_dot, n_dot, s) = both, tangent
        gain, gain_dot = _columns(parameters, block)[0], _columns(direction, block)[0]
        a, a_dot, n, size = tape.active_bar, self._unpool(tape, pooled_dot), tape.n, _area(tape.n)
        total, total_n = a.sum(_PLANE, keepdim=True), (a * n).sum(_PLANE, keepdim=True)
        total_dot, mixed = a_dot.sum(_PLANE, keepdim=True), torch.addcmul(a_dot * n, a, n_dot).sum(_PLANE, keepdim=True)
        self._norm_gradients(block, mixed, total_dot, out)
        scale, scale_dot = gain / size, gain_dot / size
        mean_n = total_n * scale
        q = (a * gain).sub_(total * scale).addcmul_(n, mean_n, value=-1.0)
        q_dot = (a * gain_dot).addcmul_(a_dot, gain).sub_(total * scale_dot + total_dot * scale)
        q_dot.addcmul_(n_dot, mean_n, value=-1.0).addcmul_(n, total_n * scale_dot + mixed * scale, value=-1.0)
        z_bar, z_bar_dot = q * tape.r, q_dot.addcmul_(q, s, value=-1.0).mul_(tape.r)
        one, weight = self._conv_backward(block, z_bar_dot, tape.x, parameters, True, True)
        other, more = self._conv_backward(block, z_bar, tape.x if x_dot is None else x_dot, direction, True, x_dot is not None)
        out[f"convs.{block}.weight"] = weight if x_dot is None else weight.add_(more)
        return one.add_(other)

    def _unpool(self, tape: BlockTape, pooled: Tensor) -> Tensor:
        """Return the gradient before pooling and ReLU."""
        spread = torch.ops.aten.avg_pool2d_backward(pooled, tape.active, [2, 2], [2, 2], [0, 0], False, True, None)
        return torch.ops.aten.threshold_backward(spread, tape.active, 0.0)  # type: ignore[no-any-return]

    def _norm_gradients(self, block: int, gain: Tensor, bias: Tensor, out: Parameters) -> None:
        """Fill in the gradients of a block's vectors from (n, K·C, 1, 1) sums over pixels."""
        columns = (-1, self.width)
        out[f"norms.{block}.weight"], out[f"norms.{block}.bias"] = gain.sum((0, 2, 3)).view(columns), bias.sum((0, 2, 3)).view(columns)
        out[f"convs.{block}.bias"] = torch.zeros_like(out[f"norms.{block}.bias"])

    def _conv(self, block: int, x: Tensor, weights: Parameters) -> Tensor:
        kernel = weights[f"convs.{block}.weight"]
        inputs = self._convolved(x), self._convolved(kernel.flatten(0, 1))
        z = F.conv2d(*inputs, padding=self.paddings[block], groups=_groups(block, kernel))
        return self._widened(z, x)

    def _conv_backward(self, block: int, z: Tensor, x: Tensor, weights: Parameters, image: bool, weight: bool) -> tuple[Tensor, Tensor]:
        """Return the gradients of input and weights, each only if asked for."""
        padding, kernel = [self.paddings[block]] * 2, weights[f"convs.{block}.weight"]
        wanted = [image, weight, False]
        inputs = (self._convolved(t) for t in (z, x, kernel.flatten(0, 1)))
        parts = torch.ops.aten.convolution_backward(*inputs, None, [1, 1], padding, [1, 1], False, [0, 0], _groups(block, kernel), wanted)
        x_bar = self._widened(parts[0], z) if image else parts[0]
        return x_bar, self._widened(parts[1].contiguous().view(kernel.shape), z) if weight else parts[1]

    def _convolved(self, x: Tensor) -> Tensor:
        """Return an input of a convolution in the type and layout in which it is computed."""
        return self._rounded(x)

    def _rounded(self, x: Tensor) -> Tensor:
        return x if self.cast is None else x.to(self.cast)

    def _widened(self, x: Tensor, like: Tensor) -> Tensor:
        return x if self.cast is None else x.to(like.dtype)

    def _product(self, one: Tensor, other: Tensor, plus: Tensor | None = None) -> Tensor:
        """Return the matrix product of every student, added to ``plus``."""
        if plus is not None and self.cast is None:
            return torch.baddbmm(plus, one, other)
        found = self._widened(self._rounded(one) @ self._rounded(other), one)
        return found if plus is None else found.add_(plus)


def _groups(block: int, kernel: Tensor) -> int:
    """Return the groups of a block's convolution: the first reads images that all students share."""
    return len(kernel) if block else 1


def _by_student(x: Tensor, students: int) -> Tensor:
    """Turn (n, K·C, h, w) into (K, n, C·h·w)."""
    return x.reshape(len(x), students, -1).transpose(0, 1)


def _by_image(features: Tensor, shape: torch.Size) -> Tensor:
    """Undo ``_by_student``."""
    return features.transpose(0, 1).reshape(shape)


def _columns(parameters: Parameters, block: int) -> tuple[Tensor, Tensor]:
    """Return gain and bias of a block's norm as (K·C, 1, 1)."""
    return parameters[f"norms.{block}.weight"].reshape(-1, 1, 1), parameters[f"norms.{block}.bias"].reshape(-1, 1, 1)


def _area(x: Tensor) -> int:
    return x.shape[2] * x.shape[3]
