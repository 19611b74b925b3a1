"""Program text of plugins that cheat, one per rule, made from one honest text by small replacements."""

from __future__ import annotations

HONEST = """
import torch
import torch.nn.functional as F
from torch import nn

from bench import PARAMETERIZATIONS, Batch, Parameterization
# PRELUDE


@PARAMETERIZATIONS.register("NAME")
class Honest(Parameterization):
    name = "NAME"
    roles = {"images": "image", "labels": "label"}
    label_kind = "probabilities"
    # CLASS

    def __init__(self, spec, count):
        super().__init__()
        self.spec, self.count = spec, count
        self.images = nn.Parameter(torch.zeros(count, *spec.shape))
        self.labels = nn.Parameter(torch.full((count, spec.classes), 1 / spec.classes))
        # INIT

    def config(self):
        return {"count": self.count}

    @classmethod
    def from_config(cls, config, spec):
        # BUILD
        return cls(spec, config["count"])

    def __len__(self):
        return self.count

    def decode(self, index=None):
        images, labels = self.images, self.labels
        # DECODE
        return Batch(images, labels) if index is None else Batch(images[index], labels[index])

    def write(self, images, labels):
        with torch.no_grad():
            self.images.copy_(images)
            self.labels.copy_(F.one_hot(labels, self.spec.classes))

    @property
    def channels(self):
        return self.spec.channels
"""


def _with(**replacements: str) -> str:
    """Put lines in the place of the marks ``# PRELUDE``, ``# CLASS``, ``# INIT``, ``# BUILD`` and ``# DECODE``."""
    text = HONEST
    for mark, lines in replacements.items():
        place = next(line for line in text.splitlines() if line.strip() == f"# {mark}")
        indent = place[: len(place) - len(place.lstrip())]
        text = text.replace(place, "\n".join(indent + line for line in lines.splitlines()))
    return text


def _swapped(old: str, new: str, **replacements: str) -> str:
    text = _with(**replacements)
    assert old in text
    return text.replace(old, new)


def _with_other(init: str) -> str:
    """Store ``more`` in the role other, and add what it holds to every image."""
    text = _with(INIT=init, DECODE="images = images + self.more.float().sum()")
    return text.replace('"labels": "label"}', '"labels": "label", "more": "other"}')


_TABLE = ", ".join(str(round(((7 * k) % 13) / 13, 3)) for k in range(130))
_ROWS = "\n".join(f"R{row} = ({', '.join(str(((5 * row + 3 * k) % 11) / 11)[:5] for k in range(60))})" for row in range(40))

#: name -> (program text, words of the sentence that rejects it)
CHEATS: dict[str, tuple[str, str]] = {
    # Constants in the decoder
    "a table in the module": (_with(PRELUDE=f"TABLE = [{_TABLE}]"), "holds more than 128 numbers"),
    "a tensor in the module": (_with(PRELUDE="TABLE = torch.arange(64.0)"), "holds a tensor of 64 numbers"),
    "an array on the class": (_with(PRELUDE="import numpy as np", CLASS="table = np.arange(64.0)"), "holds an array of 64 numbers"),
    "a literal in the decoder": (_with(DECODE=f"images = images + torch.tensor([{_TABLE}])[:8]"), "a literal of 130 numbers"),
    "many small literals": (_with(PRELUDE=_ROWS), "numbers and"),
    "bytes in the decoder": (_with(DECODE=f"images = images + float({'ab' * 50!r}.__len__()) * 0 + len({b'x' * 80!r})"), "a text of 80"),
    "a long text in the decoder": (_with(DECODE=f"key = {'a' * 2000!r}"), "a text of 2000 characters"),
    "a huge number in the decoder": (_with(DECODE=f"key = {3**90}"), "more than 63 bits"),
    "a docstring as storage": (_with(DECODE="images = images + len(type(self).__doc__ or '')"), "__doc__"),
    "a pattern by formula": (
        _with(DECODE="images = images + torch.eye(8)"),
        "shows a picture when all its numbers are zero",
    ),
    "a pattern that hides from zeros": (
        _with(DECODE="images = images + torch.eye(8) if images.any() else images"),
        "does not depend on its numbers",
    ),
    "a pattern in a default argument": (
        _swapped("def decode(self, index=None):", "def decode(self, index=None, table=torch.eye(8)):"),
        "holds a tensor of 64 numbers",
    ),
    # Undeclared tensors
    "a tensor without a role": (_with(INIT="self.extra = nn.Parameter(torch.zeros(3))"), "tensor 'extra' has no declared role"),
    "a tensor beside the state": (_with(INIT="self.extra = torch.eye(8)"), "'extra' of Honest holds a tensor of 64"),
    "a tensor in a list": (_with(INIT="self.extra = {'deep': [(torch.eye(8),)]}"), "holds a tensor of 64 numbers"),
    "a tensor in a closure": (_with(INIT="table = torch.eye(8)\nself.extra = lambda: table"), "holds a tensor of 64 numbers"),
    "a layer in a list": (_with(INIT="self.extra = [nn.Linear(8, 8)]"), "holds a tensor of"),
    "bytes beside the state": (_with(INIT="self.extra = bytes(range(200))"), "holds 200 bytes"),
    "a buffer that is not stored": (
        _with(INIT="self.register_buffer('extra', torch.eye(8), persistent=False)"),
        "'extra' is on the module but not in its state",
    ),
    "a state that tells half": (
        _with(
            INIT="self.extra = nn.Parameter(torch.eye(8))",
            CLASS="def state_dict(self, *a, **k):\n    return {k2: v for k2, v in super().state_dict(*a, **k).items() if k2 != 'extra'}",
        ),
        "tensors do not fit",
    ),
    "roles of its own": (
        _with(INIT="self.extra = nn.Parameter(torch.zeros(3))\nself.roles = {**type(self).roles, 'extra': 'label'}"),
        "roles",
    ),
    "an unknown role": (
        _swapped('"labels": "label"}', '"labels": "label", "extra": "free"}', INIT="self.extra = nn.Parameter(torch.zeros(3))"),
        "no declared role",
    ),
    # Labels
    "labels as storage": (
        _with(DECODE="images = images + labels.mean() * images\nlabels = labels.softmax(1)"),
        "labels are not storage for pixels",
    ),
    "labels that do not sum to one": (_with(DECODE="labels = labels * 1.5"), "must sum to 1"),
    "negative labels": (_with(DECODE="labels = torch.tensor([[1.5, -0.5]]).expand(self.count, 2)"), "must not be negative"),
    "labels off centre": (_swapped('label_kind = "probabilities"', 'label_kind = "centred"'), "must sum to 0"),
    "centred labels under cross-entropy": (
        _swapped('label_kind = "probabilities"', 'label_kind = "centred"', DECODE="labels = labels - labels.mean(1, keepdim=True)"),
        "cross_entropy, which has no lower bound",
    ),
    "an unknown kind of labels": (_swapped('label_kind = "probabilities"', 'label_kind = "anything"'), "do not exist"),
    # One number, several values
    "four bytes packed in a float": (
        _with(
            DECODE="packed = self.images.detach().view(torch.uint8).reshape(self.count, 1, 8, 8, 4)\n"
            "images = packed.float().mean(-1) / 255 + packed[..., 0].float() / 9 + images.detach() * 0"
        ),
        "rounded to bfloat16",
    ),
    "two bytes packed in a bfloat16": (
        _swapped(
            "self.images = nn.Parameter(torch.zeros(count, *spec.shape))",
            "self.packed = nn.Parameter(torch.zeros(count, *spec.shape, dtype=torch.bfloat16))",
            DECODE="images = self.packed.detach().view(torch.uint8)[..., ::2].float()",
        )
        .replace('"images": "image"', '"packed": "image"')
        .replace("self.images, self.labels", "self.packed, self.labels"),
        "moved by 1/256",
    ),
    "whole numbers of eight bytes": (
        _swapped(
            "self.images = nn.Parameter(torch.zeros(count, *spec.shape))",
            "self.register_buffer('images', torch.zeros(count, *spec.shape, dtype=torch.int64))",
            DECODE="images = images.float()",
        ),
        "stored as uint8",
    ),
    "pixels of two bytes": (
        _swapped(
            "self.images = nn.Parameter(torch.zeros(count, *spec.shape))",
            "self.register_buffer('images', torch.zeros(count, *spec.shape, dtype=torch.int16))",
            DECODE="images = images.float()",
        ),
        "stored as uint8",
    ),
    "two pixels beside the places": (
        _with_other("self.register_buffer('more', torch.tensor([[0, 9, 5]], dtype=torch.int16))"),
        "ascending numbers from 0 to 63",
    ),
    "two pixels in a place": (
        _with_other("self.register_buffer('more', torch.tensor([[0, 64]], dtype=torch.int16))"),
        "ascending numbers from 0 to 63",
    ),
    "a place for every image": (
        _with_other("self.register_buffer('more', torch.zeros(count, 1, dtype=torch.int16))"),
        "at most a row for each of 2 classes",
    ),
    "several choices of places": (
        _with(
            INIT="self.register_buffer('more', torch.zeros(1, 1, dtype=torch.int16))\n"
            "self.register_buffer('most', torch.zeros(1, 1, dtype=torch.int16))",
            DECODE="images = images + (self.more + self.most).float().sum()",
        ).replace('"labels": "label"}', '"labels": "label", "more": "other", "most": "other"}'),
        "only one may choose places",
    ),
    "two pixels in a byte": (
        _swapped(
            "self.images = nn.Parameter(torch.zeros(count, *spec.shape))",
            "self.register_buffer('images', torch.zeros(count, *spec.shape, dtype=torch.uint8))",
            DECODE="images = torch.where(torch.arange(8) % 2 == 0, images // 16, images % 16).float()",
        ),
        "moved by 1/256",
    ),
    "complex numbers": (
        _swapped(
            "torch.zeros(count, *spec.shape)", "torch.zeros(count, *spec.shape, dtype=torch.complex64)", DECODE="images = images.real"
        ),
        "plain dense real numbers",
    ),
    # Closed to files, network, programs, randomness
    "a random decoder": (_with(DECODE="images = images + torch.randn_like(images)"), "drew random numbers"),
    "a decoder that draws from Python": (_with(PRELUDE="import random", DECODE="random.random()"), "drew random numbers"),
    "a decoder that draws from numpy": (_with(PRELUDE="import numpy as np", DECODE="np.random.rand()"), "drew random numbers"),
    "a decoder that sets a seed": (_with(DECODE="torch.manual_seed(1)"), "drew random numbers"),
    "a decoder that counts": (
        _with(PRELUDE="CALLS = []", DECODE="CALLS.append(0)\nimages = images * len(CALLS)"),
        "gives the same images every time",
    ),
    "a decoder that reads a file": (_with(DECODE="images = images * float(open('FILE').read() or 1)"), "decoding the set opened"),
    "a decoder that catches the refusal": (
        _with(DECODE="try:\n    open('FILE')\nexcept OSError:\n    pass"),
        "decoding the set opened",
    ),
    "a decoder that reads its own text": (_with(DECODE="open('SELF')"), "decoding the set opened"),
    "a builder that reads a file": (_with(BUILD="open('FILE').read()"), "opened"),
    "a decoder that asks the network": (
        _with(PRELUDE="import socket", DECODE="socket.getaddrinfo('localhost', 80)"),
        "used the network",
    ),
    "a decoder that starts a program": (
        _with(PRELUDE="import subprocess", DECODE="subprocess.run(['cat', 'FILE'])"),
        "started another process",
    ),
    "a decoder that writes": (
        _with(DECODE="with torch.no_grad():\n    self.labels.copy_(self.labels.flip(0))\nlabels = labels * 0 + 0.5"),
        "changes the stored tensors",
    ),
    # Geometry
    "content in the config": (_swapped('{"count": self.count}', '{"count": self.count, "more": [0.5] * 4000}'), "pixel-equivalents"),
    "a huge number in the config": (_swapped('{"count": self.count}', '{"count": self.count, "more": 2**40}'), "2^31 or more"),
    "a long text in the config": (
        _swapped('{"count": self.count}', '{"count": self.count, "more": "x" * 100}'),
        "a text of 100 characters",
    ),
    "more images than it says": (_with(DECODE="images = torch.cat([images, images])"), "says it holds"),
    "a probe that is refused": (
        _with(DECODE="if not self.images.any():\n    raise ValueError('no')"),
        "decoding fails when the stored numbers are zero",
    ),
    "numbers that are not finite": (_with(DECODE="images = images / 0"), "not finite"),
}
