"""Layers that networks are made of."""

from jaxgan.layers.attention import SelfAttention
from jaxgan.layers.conv import Conv, ConvTranspose, conv, conv_transpose
from jaxgan.layers.dense import Dense
from jaxgan.layers.dropout import Dropout
from jaxgan.layers.minibatch import minibatch_std
from jaxgan.layers.norm import ConditionalNorm, Norm
from jaxgan.layers.shuffle import pixel_shuffle
from jaxgan.layers.spectral import SpectralNorm

__all__ = [
    "ConditionalNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Norm",
    "SelfAttention",
    "SpectralNorm",
    "conv",
    "conv_transpose",
    "minibatch_std",
    "pixel_shuffle",
]
