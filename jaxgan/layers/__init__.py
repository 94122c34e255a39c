"""Layers that networks are made of."""

from jaxgan.layers.conv import Conv, ConvTranspose, conv, conv_transpose
from jaxgan.layers.dense import Dense
from jaxgan.layers.dropout import Dropout
from jaxgan.layers.norm import Norm
from jaxgan.layers.spectral import SpectralNorm

__all__ = ["Conv", "ConvTranspose", "Dense", "Dropout", "Norm", "SpectralNorm", "conv", "conv_transpose"]
