"""Settings of networks: a class for each Linen module that a configuration can name."""

from typing import Literal

from jaxgan.config.base import Count, Fraction, Model


class _Network(Model):
    width: Count = 64
    """Channels of the largest map; features of a hidden layer in an MLP."""


class _DCGAN(_Network):
    network: Literal["dcgan"]
    norm: Literal["batch", "layer", "none"] = "batch"


class _MLP(_Network):
    network: Literal["mlp"]
    depth: Count = 3
    """Hidden layers."""


class DCGANGenerator(_DCGAN):
    """`jaxgan.networks.DCGANGenerator`."""


class DCGANDiscriminator(_DCGAN):
    """`jaxgan.networks.DCGANDiscriminator`."""

    dropout: Fraction = 0.0


class MLPGenerator(_MLP):
    """`jaxgan.networks.MLPGenerator`."""


class MLPDiscriminator(_MLP):
    """`jaxgan.networks.MLPDiscriminator`."""

    dropout: Fraction = 0.0


class ResNetGenerator(_Network):
    """`jaxgan.networks.ResNetGenerator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 256
    norm: Literal["batch", "layer", "none"] = "batch"


class ResNetDiscriminator(_Network):
    """`jaxgan.networks.ResNetDiscriminator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 128
    spectral: bool = True
    """Whether weights are spectrally normalised."""
