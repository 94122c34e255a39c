"""Linen modules: generators and discriminators. Their fields, with types, defaults and sentences, stand in each file.

Networks of images have `resolution` and `channels` as fields, an `MLPGenerator` the `shape` of an example:
`DCGANGenerator(resolution=32, channels=3, classes=4)`, `MLPGenerator((16, 16, 3), classes=4)`.

Every generator is called as `generator(latent, label=None, *, train, keys=None)` and every discriminator as
`discriminator(image, label=None, *, train, keys=None)`: latents `[N, Z]`, images `[N, H, W, C]` in [-1, 1], labels
`[N]` int, one key per example for dropout. Discriminators return float32 logits `[N]`, of patches `[N, h, w]`, and with
an auxiliary classifier also logits of the classes. One whose attribute `per_example` is true judges each image by
itself, so that it may be given real and generated ones at once; a subclass of it that compares images says otherwise.

Translators are called as `translator(image, *, train, keys=None)` and make images `[N, H, W, C]` of the same size;
`SRResNet` makes larger ones.
The generators of a pyramid's finer levels also take a plane of noise: `generator(image, noise, label=None, ...)`.

Encoders are called as `encoder(image, *, train, keys=None)` and return codes `[N, Z]` and, where they tell classes,
the logits of these `[N, K]`, else None.

Networks that read text, and those that make and judge images of it, are in `jaxgan.networks.text` and
`jaxgan.networks.stackgan`.

Feature networks with published weights are in `jaxgan.networks.inception` and `jaxgan.networks.efficientnet`.

A network that settings can name is registered by its own file, see `jaxgan.networks.registry`; every file of this
folder is imported.
"""

import importlib
import pkgutil

from jaxgan.networks.biggan import BigGANDiscriminator, BigGANGenerator
from jaxgan.networks.dcgan import DCGANDiscriminator, DCGANEncoder, DCGANGenerator
from jaxgan.networks.lapgan import BandDiscriminator, BandGenerator
from jaxgan.networks.mlp import MLPDiscriminator, MLPEncoder, MLPGenerator
from jaxgan.networks.patchgan import PatchGAN
from jaxgan.networks.refiner import Refiner
from jaxgan.networks.resnet import ResNetDiscriminator, ResNetGenerator
from jaxgan.networks.sagan import SAGANDiscriminator, SAGANGenerator
from jaxgan.networks.srresnet import SRResNet, VGGDiscriminator
from jaxgan.networks.stackgan import MatchingDiscriminator, StageOne, StageTwo
from jaxgan.networks.text import CharacterEncoder
from jaxgan.networks.translator import Translator
from jaxgan.networks.unet import UNet

__all__ = [
    "BandDiscriminator",
    "BandGenerator",
    "BigGANDiscriminator",
    "BigGANGenerator",
    "CharacterEncoder",
    "DCGANDiscriminator",
    "DCGANEncoder",
    "DCGANGenerator",
    "MLPDiscriminator",
    "MLPEncoder",
    "MLPGenerator",
    "MatchingDiscriminator",
    "PatchGAN",
    "Refiner",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "SAGANDiscriminator",
    "SAGANGenerator",
    "SRResNet",
    "StageOne",
    "StageTwo",
    "Translator",
    "UNet",
    "VGGDiscriminator",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
