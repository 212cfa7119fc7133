"""Networks of few-shot learning papers, and their reproducible initialization."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from metabench.problems import random_numbers
from metabench.problems.tasks import Address


def mlp(sizes: tuple[int, ...], norm: bool = False) -> nn.Module:
    """Build a ReLU network with the given layer widths, from input to output.

    `(1, 40, 40, 1)` is the regression network of
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), and `(784, 256, 128, 64, 64,
    ways)` with `norm`, batch norm ahead of each ReLU, its Omniglot network without convolutions
    (Santoro et al., 2016, https://arxiv.org/abs/1605.06065). Images are flattened.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        middle = [nn.BatchNorm1d(outputs, track_running_stats=False)] if norm else []
        layers += [nn.Linear(inputs, outputs), *middle, nn.ReLU()]
    return nn.Sequential(*layers[: -1 - norm])


def conv(
    blocks: int, filters: int, outputs: int, side: int, channels: int = 1, norm: bool = True
) -> nn.Module:
    """Build the few-shot convolutional network: blocks of 3x3, batch norm, ReLU, 2x2 pooling.

    Batch norm always uses batch statistics, as in MAML (transductive), and keeps no running
    statistics. Conv-4 is four blocks of 64 filters, or of 32 on mini-ImageNet.
    (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, 2016, https://arxiv.org/abs/1606.04080).

    Args:
        blocks: number of blocks.
        filters: output channels of each convolution.
        outputs: of the final linear layer, one per class.
        side: width and height of an image [pixels].
        channels: of an image.
        norm: whether blocks have batch norm.
    """
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            nn.Conv2d(channels if block == 0 else filters, filters, 3, padding=1),
            *([nn.BatchNorm2d(filters, track_running_stats=False)] if norm else []),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    left = side // 2**blocks
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(filters * left * left, outputs))


def initial_parameters(net: nn.Module, seed: int) -> Tensor:
    """Draw the network's parameters, flat `(P,)` float64, from torch's default distributions.

    Linear and convolutional weights and biases are uniform within 1/sqrt(fan in), norm scales are
    one and norm biases zero (https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html);
    unlike draws of torch's generator, they do not depend on the machine or dtype.
    """
    pieces, used = [], 0
    total = sum(parameter.numel() for parameter in net.parameters())
    numbers = torch.from_numpy(random_numbers.uniform(seed, "theta", Address.fresh(0, 1), total)[0])
    for module in net.modules():
        parameters = list(module.parameters(recurse=False))
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in parameters:
                uniform = numbers[used : used + parameter.numel()]
                pieces.append((2 * uniform - 1) * bound)
                used += parameter.numel()
        else:
            pieces += [p.detach().double().reshape(-1) for p in parameters]
    return torch.cat(pieces)
