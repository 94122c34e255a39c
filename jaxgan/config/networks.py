"""Settings of networks: a class for each Linen module that a configuration can name."""

from typing import Annotated, Literal

from pydantic import Field

from jaxgan.config.base import Count, Fraction, Model


class Network(Model):
    """What all networks have."""

    width: Count = 64
    """Channels of the largest map; features of a hidden layer in an MLP."""


class _DCGAN(Network):
    network: Literal["dcgan"]
    norm: Literal["batch", "layer", "none"] = "batch"


class _MLP(Network):
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


class ResNetGenerator(Network):
    """`jaxgan.networks.ResNetGenerator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 256
    norm: Literal["batch", "layer", "none"] = "batch"


class ResNetDiscriminator(Network):
    """`jaxgan.networks.ResNetDiscriminator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 128
    spectral: bool = True
    """Whether weights are spectrally normalised."""


class UNet(Network):
    """`jaxgan.networks.UNet`, as published for 256x256."""

    network: Literal["unet"]
    depth: Annotated[int, Field(ge=2, le=12)] = 8
    """Halvings of the image: 8 take 256x256 to one pixel."""
    norm: Literal["batch", "layer", "instance", "none"] = "batch"
    dropout: Fraction = 0.5


class Translator(Network):
    """`jaxgan.networks.Translator`, as published for 256x256."""

    network: Literal["translator"]
    blocks: Count = 9
    norm: Literal["batch", "layer", "instance", "none"] = "instance"


class PatchGAN(Network):
    """`jaxgan.networks.PatchGAN`, as published: patches of 70x70."""

    network: Literal["patchgan"]
    layers: Annotated[int, Field(ge=0, le=8)] = 3
    """Strided layers: patches of 1, 16, 34, 70, 142, ... pixels."""
    norm: Literal["batch", "layer", "instance", "none"] = "batch"
    spectral: bool = False
