"""Settings of networks: a class for each Linen module that a configuration can name."""

from typing import Annotated, Literal

from pydantic import Field

from jaxgan.settings import Count, Fraction, Model, Whole

Conditioning = Literal["concatenate", "projection", "auxiliary"]
"""How a discriminator uses classes: `jaxgan.networks.conditioning`."""


class Network(Model):
    """What all networks have."""

    width: Count = 64
    """Channels of the largest map; features of a hidden layer in an MLP."""


class _Discriminator(Network):
    minibatch_std: bool = False
    """Whether it sees how much groups of four examples differ."""


class _DCGAN(Network):
    network: Literal["dcgan"]
    norm: Literal["batch", "layer", "none"] = "batch"


class _MLP(Network):
    network: Literal["mlp"]
    depth: Count = 3
    """Hidden layers."""


class DCGANGenerator(_DCGAN):
    """`jaxgan.networks.DCGANGenerator`."""


class DCGANDiscriminator(_DCGAN, _Discriminator):
    """`jaxgan.networks.DCGANDiscriminator`."""

    dropout: Fraction = 0.0
    conditioning: Conditioning = "concatenate"


class MLPGenerator(_MLP):
    """`jaxgan.networks.MLPGenerator`."""


class MLPDiscriminator(_MLP, _Discriminator):
    """`jaxgan.networks.MLPDiscriminator`."""

    dropout: Fraction = 0.0
    conditioning: Conditioning = "concatenate"


class DCGANEncoder(_DCGAN):
    """`jaxgan.networks.DCGANEncoder`."""


class MLPEncoder(_MLP):
    """`jaxgan.networks.MLPEncoder`."""


class ResNetGenerator(Network):
    """`jaxgan.networks.ResNetGenerator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 256
    norm: Literal["batch", "layer", "none"] = "batch"


class ResNetDiscriminator(_Discriminator):
    """`jaxgan.networks.ResNetDiscriminator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 128
    spectral: bool = True
    """Whether weights are spectrally normalised."""
    conditioning: Conditioning = "projection"


class _BigGAN(Network):
    network: Literal["biggan"]
    width: Count = 96
    """Channels of the largest map from 128x128; a quarter of them at 28x28 and 32x32."""
    attention: Whole = 0
    """Size of the map that gets attention, such as 64 at 128x128 or 14 at 28x28; 0 for none."""


class BigGANGenerator(_BigGAN):
    """`jaxgan.networks.BigGANGenerator`, as wide as published for 128x128."""

    embedding: Count = 128
    """Numbers that all blocks learn of the class."""


class BigGANDiscriminator(_BigGAN, _Discriminator):
    """`jaxgan.networks.BigGANDiscriminator`, as wide as published for 128x128."""


class _SAGAN(Network):
    network: Literal["sagan"]
    attention: Whole = 0
    """Size of the map that gets attention, such as 32 at 128x128 or 14 at 28x28; 0 for none."""


class SAGANGenerator(_SAGAN):
    """`jaxgan.networks.SAGANGenerator`."""

    spectral: bool = True
    """Whether weights are spectrally normalised."""


class SAGANDiscriminator(_SAGAN, _Discriminator):
    """`jaxgan.networks.SAGANDiscriminator`."""


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


class Refiner(Network):
    """`jaxgan.networks.Refiner`, as published."""

    network: Literal["refiner"]
    blocks: Count = 4
    norm: Literal["batch", "layer", "instance", "none"] = "none"


class SRResNet(Network):
    """`jaxgan.networks.SRResNet`, as published; how many times it enlarges is up to the data."""

    network: Literal["srresnet"]
    blocks: Count = 16
    norm: Literal["batch", "none"] = "batch"


class VGGDiscriminator(_Discriminator):
    """`jaxgan.networks.VGGDiscriminator`, as published for 96x96."""

    network: Literal["vgg"]
    pairs: Annotated[int, Field(ge=1, le=8)] = 4
    """Pairs of convolutions, each of which halves the image."""
    norm: Literal["batch", "layer", "instance", "none"] = "batch"
    spectral: bool = False


class PatchGAN(_Discriminator):
    """`jaxgan.networks.PatchGAN`, as published: patches of 70x70."""

    network: Literal["patchgan"]
    layers: Annotated[int, Field(ge=0, le=8)] = 3
    """Strided layers: patches of 1, 16, 34, 70, 142, ... pixels."""
    norm: Literal["batch", "layer", "instance", "none"] = "batch"
    spectral: bool = False


class LAPGANGenerator(Network):
    """`jaxgan.networks.BandGenerator` of the finer levels of a pyramid, and `MLPGenerator` of the coarsest."""

    network: Literal["lapgan"]
    kernel: Annotated[int, Field(ge=1, le=15)] = 3
    hidden: Count = 1200
    """Features of each of the two hidden layers of the coarsest level."""


class LAPGANDiscriminator(_Discriminator):
    """`jaxgan.networks.BandDiscriminator` of the finer levels of a pyramid, and `MLPDiscriminator` of the coarsest."""

    network: Literal["lapgan"]
    kernel: Annotated[int, Field(ge=1, le=15)] = 4
    hidden: Count = 600
    """Features of each of the two hidden layers of the coarsest level."""
    dropout: Fraction = 0.5


class StackGANGenerator(Network):
    """`jaxgan.networks.StageTwo`, and a `StageOne` of twice the width, as wide as the authors' code for 256x256."""

    network: Literal["stackgan"]
    width: Count = 48
    condition: Count = 128
    """Numbers that each stage draws from the embedding of the text."""
    blocks: Whole = 4
    """Residual blocks of the second stage."""
    depth: Annotated[int, Field(ge=0, le=6)] = 2
    """Halvings of the small image before them."""
    norm: Literal["batch", "layer", "none"] = "batch"


class MatchingDiscriminator(_Discriminator):
    """`jaxgan.networks.MatchingDiscriminator`, of each stage."""

    network: Literal["matching"]
    width: Count = 96
    condition: Count = 128
    """Numbers that the embedding of the text is compressed to."""
    norm: Literal["batch", "layer", "none"] = "batch"
    spectral: bool = False


class CharacterEncoder(Model):
    """`jaxgan.networks.CharacterEncoder`."""

    features: Count = 128
    width: Count = 32
    layers: Annotated[int, Field(ge=1, le=6)] = 2
    window: Annotated[int, Field(ge=1, le=32)] = 5
    """Characters that a convolution sees."""
