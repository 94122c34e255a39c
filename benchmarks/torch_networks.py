"""jaxgan's networks in PyTorch, as its users write them, and how jaxgan's weights become theirs.

Two layers are written as jaxgan writes them, as they cost PyTorch nothing: the first of a DCGAN generator and the last
of a discriminator are dense. The ResNets are the published ones: upsample and convolve, convolve and pool.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from jaxgan.networks import dcgan, resnet

Pair = tuple[nn.Parameter, tuple[str, ...], Callable[[np.ndarray], np.ndarray]]
"""A parameter, the path of jaxgan's, and how that one is turned into this one."""


def convolution(kernel: np.ndarray) -> np.ndarray:
    """`[D, kh, kw, C]` to `[D, C, kh, kw]`: the layout of a convolution and of a transposed one alike."""
    return kernel.transpose(0, 3, 1, 2)


def dense(kernel: np.ndarray) -> np.ndarray:
    return kernel.T


def same(values: np.ndarray) -> np.ndarray:
    return values


def of_layer(layer: Any, *path: str) -> Iterator[Pair]:
    """Of a dense layer or a convolution, spectrally normalised or not."""
    spectral = getattr(layer, "parametrizations", None)
    weight = spectral.weight.original if spectral else layer.weight
    yield weight, (*path, "kernel"), dense if weight.ndim == 2 else convolution
    if layer.bias is not None:
        yield layer.bias, (*path, "bias"), same


def of_norm(layer: Any, *path: str) -> Iterator[Pair]:
    yield layer.weight, (*path, "BatchNorm_0", "scale"), same
    yield layer.bias, (*path, "BatchNorm_0", "bias"), same


class DCGANGenerator(nn.Module):
    def __init__(self, resolution: int, channels: int, width: int, latent: int) -> None:
        super().__init__()
        self.base, doublings = dcgan.stages(resolution)
        maps = dcgan.widths(width, doublings)[::-1]
        self.first = nn.Linear(latent, self.base**2 * maps[0], bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(features) for features in maps)
        last = [*[False] * (doublings - 1), True]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 4, 2, 1, bias=bias)
            for i, o, bias in zip(maps, [*maps[1:], channels], last, strict=True)
        )

    def forward(self, z: Tensor) -> Tensor:
        # A channels-last map without a copy.
        x = self.first(z).view(len(z), self.base, self.base, -1).permute(0, 3, 1, 2)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(F.relu(norm(x), inplace=True))
        return torch.tanh(x)

    def pairs(self) -> Iterator[Pair]:
        yield from of_layer(self.first, "Dense_0")
        for i, (norm, up) in enumerate(zip(self.norms, self.ups, strict=True)):
            yield from of_norm(norm, f"Norm_{i}")
            yield from of_layer(up, f"ConvTranspose_{i}")


class DCGANDiscriminator(nn.Module):
    def __init__(self, resolution: int, channels: int, width: int, norm: bool = True) -> None:
        super().__init__()
        base, doublings = dcgan.stages(resolution)
        maps = [channels, *dcgan.widths(width, doublings)]
        self.downs = nn.ModuleList(
            nn.Conv2d(i, o, 4, 2, 1, bias=not norm or n == 0) for n, (i, o) in enumerate(pairwise(maps))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) if norm else nn.Identity() for o in maps[2:])
        self.last = nn.Linear(base**2 * maps[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        for down, norm in zip(self.downs, [nn.Identity(), *self.norms], strict=True):
            x = F.leaky_relu(norm(down(x)), 0.2, inplace=True)
        return self.last(x.permute(0, 2, 3, 1).flatten(1))[:, 0]

    def pairs(self) -> Iterator[Pair]:
        for i, down in enumerate(self.downs):
            yield from of_layer(down, f"Conv_{i}")
        for i, norm in enumerate(self.norms):
            if isinstance(norm, nn.BatchNorm2d):
                yield from of_norm(norm, f"Norm_{i + 1}")
        yield from of_layer(self.last, "Dense_0")


class MLP(nn.Module):
    """Both players of the fully connected game: `sizes` from the input to the output."""

    def __init__(self, sizes: Sequence[int], slope: float, shape: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.slope, self.shape = slope, shape

    def forward(self, x: Tensor) -> Tensor:
        # In the order of jaxgan's images; channels-last memory needs no copy.
        x = x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x
        for layer in self.layers[:-1]:
            x = layer(x)
            x = F.leaky_relu(x, self.slope, inplace=True) if self.slope else F.relu(x, inplace=True)
        x = self.layers[-1](x)
        return torch.tanh(x).view(-1, *self.shape).permute(0, 3, 1, 2) if self.shape else x[:, 0]

    def pairs(self) -> Iterator[Pair]:
        for i, layer in enumerate(self.layers):
            yield from of_layer(layer, f"Dense_{i}")


class UpBlock(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(i), nn.BatchNorm2d(o)])
        self.convs = nn.ModuleList([nn.Conv2d(i, o, 3, 1, 1), nn.Conv2d(o, o, 3, 1, 1)])
        self.shortcut = nn.Conv2d(i, o, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.interpolate(F.relu(self.norms[0](x), inplace=True), scale_factor=2)
        y = self.convs[1](F.relu(self.norms[1](self.convs[0](y)), inplace=True))
        return y + self.shortcut(F.interpolate(x, scale_factor=2))

    def pairs(self, name: str) -> Iterator[Pair]:
        for i, norm in enumerate(self.norms):
            yield from of_norm(norm, name, f"Norm_{i}")
        for layer, inner in zip(
            [*self.convs, self.shortcut], ["UpsampleConv_0", "Conv_0", "Conv_1"], strict=True
        ):
            yield from of_layer(layer, name, inner)


class DownBlock(nn.Module):
    def __init__(self, i: int, o: int, first: bool, down: bool) -> None:
        super().__init__()
        self.first, self.down, inner = first, down, o if first else i
        spectral: Any = parametrizations.spectral_norm
        convs = [nn.Conv2d(i, inner, 3, 1, 1), nn.Conv2d(inner, o, 3, 1, 1)]
        self.convs = nn.ModuleList(map(spectral, convs))
        self.shortcut = spectral(nn.Conv2d(i, o, 1)) if down or i != o else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs[0](x if self.first else F.relu(x))
        y = self.convs[1](F.relu(y, inplace=True))
        y = F.avg_pool2d(y, 2) if self.down else y
        if self.shortcut is None:
            return y + x
        if self.first:  # pooled first, as published: the images are the smaller map
            return y + self.shortcut(F.avg_pool2d(x, 2) if self.down else x)
        x = self.shortcut(x)
        return y + (F.avg_pool2d(x, 2) if self.down else x)

    def pairs(self, name: str) -> Iterator[Pair]:
        yield from of_layer(self.convs[0], name, "Conv_0")
        yield from of_layer(self.convs[1], name, "ConvPool_0" if self.down else "Conv_1")
        if self.shortcut is not None:
            yield from of_layer(self.shortcut, name, "Conv_1" if self.down else "Conv_2")


class ResNetGenerator(nn.Module):
    def __init__(self, resolution: int, channels: int, width: int, latent: int) -> None:
        super().__init__()
        maps = resnet.widths(resolution, width)
        self.first = nn.Linear(latent, 16 * maps[0])
        self.blocks = nn.ModuleList(UpBlock(i, o) for i, o in pairwise(maps))
        self.norm, self.last = nn.BatchNorm2d(maps[-1]), nn.Conv2d(maps[-1], channels, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.last(F.relu(self.norm(x), inplace=True)))

    def pairs(self) -> Iterator[Pair]:
        yield from of_layer(self.first, "Dense_0")
        for i, block in enumerate(self.blocks):
            yield from block.pairs(f"UpBlock_{i}")  # pyright: ignore[reportCallIssue]
        yield from of_norm(self.norm, "Norm_0")
        yield from of_layer(self.last, "Conv_0")


class ResNetDiscriminator(nn.Module):
    """Up to 32x32."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        sizes = [(channels, True), (width, True), (width, False), (width, False)]
        self.blocks = nn.ModuleList(DownBlock(i, width, n == 0, down) for n, (i, down) in enumerate(sizes))
        self.last = parametrizations.spectral_norm(nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.last(F.relu(x).sum((2, 3)))[:, 0]

    def pairs(self) -> Iterator[Pair]:
        for i, block in enumerate(self.blocks):
            yield from block.pairs(f"DownBlock_{i}")  # pyright: ignore[reportCallIssue]
        yield from of_layer(self.last, "Dense_0")


def load(module: Any, params: Any) -> None:
    """Copies jaxgan's weights; the vectors of spectral norm become the weights' singular vectors."""
    pairs = list(module.pairs())
    missing = set(module.parameters()) - {parameter for parameter, *_ in pairs}
    if missing:
        raise ValueError(f"{len(missing)} parameters have no counterpart")
    with torch.no_grad():
        for parameter, path, turned in pairs:
            parameter.copy_(torch.from_numpy(turned(np.asarray(at(params, path))).copy()))
        for layer in module.modules():
            if found := getattr(layer, "parametrizations", None):
                u, _, v = torch.linalg.svd(found.weight.original.flatten(1), full_matrices=False)
                found.weight[0]._u.copy_(u[:, 0])
                found.weight[0]._v.copy_(v[0])


def gradients(module: Any, theirs: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(gradient here, jaxgan's gradient in the same layout) of every parameter."""
    return [
        (parameter.grad.numpy(force=True), turned(np.asarray(at(theirs, path))))
        for parameter, path, turned in module.pairs()
    ]


def at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
