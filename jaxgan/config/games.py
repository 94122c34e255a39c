"""Settings of the rules: optimizers, and a class for each family of games."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny
from pydantic import PositiveFloat as Positive

from jaxgan.networks.registry import NETWORKS, Network, settings_of
from jaxgan.networks.text import CharacterEncoder
from jaxgan.settings import Count, Fraction, Model, Probability, Weight, Whole


class TextEncoder(settings_of(CharacterEncoder)):
    """Settings of `jaxgan.networks.CharacterEncoder`."""


class Adam(Model):
    """Adam (Kingma and Ba, 2015), with DCGAN's defaults."""

    learning_rate: Positive = 2e-4
    b1: Fraction = 0.5
    b2: Fraction = 0.999


class SGD(Model):
    """Gradient descent without momentum."""

    learning_rate: Positive


class Schedule(Model):
    """How a learning rate changes. Updates are counted, so a player with several turns a step goes through it sooner.

    A schedule has a length of its own, so that a run may be given more steps later.
    """

    warmup: Whole = 0
    """Updates in which it rises from 0, along a line."""
    hold: Whole = 0
    """Updates at its full height after that."""
    decay: Whole = 0
    """Updates in which it then falls; 0 for a rate that stays."""
    shape: Literal["linear", "cosine"] = "linear"
    end: Fraction = 0.0
    """What is left in the end, as a share."""


class Optimizer(Model):
    """Exactly one of the optimizers; Adam if none is named."""

    adam: Adam | None = None
    sgd: SGD | None = None
    schedule: Schedule | None = None
    """Of the learning rate; None for one that stays."""

    def model_post_init(self, context: Any) -> None:
        if self.adam and self.sgd:
            raise ValueError("names two optimizers, adam and sgd; keep one")


class Regularized(Model):
    """Penalties on the weights of a network: `jaxgan.games.Weights`."""

    orthogonal: Weight = 0.0
    """1e-4 in BigGAN."""
    l1: Weight = 0.0
    l2: Weight = 0.0


class Adversarial(Model):
    """The rules between a discriminator and those that it judges, in any family: `jaxgan.games.Adversary`."""

    loss: Literal["non_saturating", "minimax", "hinge", "wasserstein", "least_squares", "relativistic"] = (
        "non_saturating"
    )
    gradient_penalty: Weight = 0.0
    """Of WGAN-GP, on the discriminator; 10 in the paper."""
    r1: Weight = 0.0
    """Of the discriminator's slope at real images: gamma, 10 in the paper."""
    r2: Weight = 0.0
    """Of its slope at generated images."""
    dragan: Weight = 0.0
    """Of its slope around real images; 10 in the paper."""
    penalty_every: Count = 1
    """Steps from one penalty on slopes to the next, which weighs so many times as much."""
    smoothing: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """What the discriminator's target for real images lacks to 1."""
    flip: Probability = 0.0
    """Probability that the discriminator learns from an image with the wrong label, such as 0.35; 0 for none."""
    noise: Weight = 0.0
    """Standard deviation of noise on all images that the discriminator sees."""
    noise_steps: Whole = 0
    """Steps in which it falls to 0; 0 for noise that stays."""
    augment: list[Literal["color", "translation", "cutout"]] = []
    """Augmentation of what the discriminator sees: `jaxgan.augment`."""
    packing: Count = 1
    """Images that the discriminator judges together (PacGAN)."""
    top_k: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the generated images from which the generator learns in the end."""
    top_k_steps: Whole = 0
    """Steps in which it falls from 1."""
    discriminator_turns: Count = 1
    """Updates of the discriminator in each step: n_critic, K_d."""
    discriminator_pretraining: Whole = 0
    """Steps in which the discriminator plays before the generator learns from it; in StackGAN, of each stage."""
    weights: Regularized = Regularized()
    """Of the generator."""
    discriminator_weights: Regularized = Regularized()


class GAN(Adversarial):
    """Noise to image: `jaxgan.games.gan`."""

    family: Literal["gan"]
    latent: Count = 100
    latent_kind: Literal["normal", "uniform"] = "normal"
    conditional: bool = False
    auxiliary: Weight = 1.0
    """Of the classes that the discriminator tells, where it does (AC-GAN)."""
    ema: Fraction = 0.999
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    shared_draws: bool = False

    def model_post_init(self, context: Any) -> None:
        if self.packing > 1 and self.conditional:
            raise ValueError("packs images of several classes; set packing to 1 or conditional to false")


class Pix2Pix(Adversarial):
    """Paired images to images: `jaxgan.games.pix2pix`."""

    family: Literal["pix2pix"]
    reconstruction: Weight = 100.0
    """Of the mean absolute difference to the real image, lambda."""
    adversarial: Weight = 1.0
    """Of the generator's adversarial loss; 0 for pixels alone."""
    ema: Fraction = 0.0
    shared_draws: bool = True


class CycleGAN(Adversarial):
    """Unpaired images to images: `jaxgan.games.cyclegan`. Both ways have networks of one kind."""

    family: Literal["cyclegan"]
    cycle: Weight = 10.0
    identity: Weight = 5.0
    pool: Whole = 50
    """Generated images of each domain that are kept for the discriminators."""
    ema: Fraction = 0.0
    shared_draws: bool = True

    def model_post_init(self, context: Any) -> None:
        if self.pool and self.shared_draws and self.discriminator_turns > 1:
            raise ValueError(
                "asks its pool for the same images in each of discriminator_turns; set shared_draws to false or pool "
                "to 0"
            )


class Private(Adversarial):
    """Noise to image with differential privacy: `jaxgan.games.private`, and docs/private.md."""

    family: Literal["private"]
    latent: Count = 100
    latent_kind: Literal["normal", "uniform"] = "normal"
    conditional: bool = False
    epsilon: Annotated[float, Field(gt=0, le=30)] | None = None
    """The budget: training ends before a step that would exceed it."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Less than one over the number of examples."""
    noise_multiplier: Positive | None = None
    """Standard deviation of the noise over `clip`. Left out, the least with which `steps` keep the budget."""
    clip: Positive = 1.0
    """Norm to which the discriminator's gradient of each example is clipped."""
    chunk: Count = 16
    """Examples on a device whose gradients are held at once, at most."""
    ema: Fraction = 0.0

    def model_post_init(self, context: Any) -> None:
        if self.epsilon is None and self.noise_multiplier is None:
            raise ValueError("needs a budget, epsilon, or a noise_multiplier, or both")
        for name, mixes in (
            ("packing", self.packing > 1),
            ("dragan", self.dragan > 0),
            ("loss", self.loss == "relativistic"),
        ):
            if mixes:
                raise ValueError(f"cannot be private with this {name}, which mixes real images; leave it out")
        if self.discriminator_weights != Regularized():
            raise ValueError(
                "would clip penalties on discriminator_weights with the slopes of each image, and hide these; leave "
                "them out"
            )


class AAE(Adversarial):
    """Images to codes and back: `jaxgan.games.aae`. The generator decodes; the discriminator judges codes."""

    family: Literal["aae"]
    encoder: Annotated[SerializeAsAny[Network], NETWORKS["encoder"]]
    latent: Count = 2
    """Size of the codes; of the style, where they are split into style and class."""
    prior: Literal["normal", "mixture"] = "normal"
    """What codes are matched to: a Gaussian, or in the plane a mixture of ten, with labels of one for each class."""
    labels: Whole = 0
    """How many labelled examples are used, as many of each class. With a Gaussian prior they split codes into style and
    class, and the encoder learns to classify; with a mixture they tell classes which mode is theirs."""
    reconstruction: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the mean squared error of the reconstruction; without effect under Adam."""
    encoder_optimizer: Optimizer = Optimizer(adam=Adam())
    """Of the encoder as it fools the discriminator and as it classifies; as it encodes, that of the generator."""
    ema: Fraction = 0.0
    shared_draws: bool = True
    """Whether all turns of a step see one batch, as in the paper."""

    def model_post_init(self, context: Any) -> None:
        if self.prior == "mixture" and self.latent != 2:
            raise ValueError(
                f"its mixture is in the plane; set latent to 2, not {self.latent}, or prior to normal"
            )
        if self.augment or self.packing > 1:
            raise ValueError("judges codes, not images; leave out augment and packing")


class LAPGAN(Adversarial):
    """Noise to image, from coarse to fine: `jaxgan.games.lapgan`."""

    family: Literal["lapgan"]
    levels: Count = 3
    """Sizes of the image, each half the one before."""
    latent: Count = 100
    """Of the coarsest level; each other has a plane of noise."""
    latent_kind: Literal["normal", "uniform"] = "uniform"
    conditional: bool = False
    ema: Fraction = 0.999
    shared_draws: bool = True

    def model_post_init(self, context: Any) -> None:
        if self.packing > 1 and self.conditional:
            raise ValueError("packs images of several classes; set packing to 1 or conditional to false")


class Refinement(Adversarial):
    """Synthetic images made to look real: `jaxgan.games.refiner`."""

    family: Literal["refiner"]
    self_regularisation: Weight = 10.0
    """Of the mean absolute difference between refined and synthetic image, lambda."""
    history: Whole = 512
    """Refined images that are kept; half of what the discriminator sees as refined is of these."""
    generator_turns: Count = 2
    """K_g."""
    generator_pretraining: Whole = 0
    """First steps, in which the refiner learns to leave images as they are, alone; then the discriminator starts."""
    ema: Fraction = 0.0


class SRGAN(Adversarial):
    """Small images ("input") to large ones: `jaxgan.games.srgan`. See data.scale."""

    family: Literal["srgan"]
    pixel_loss: Literal["mse", "l1"] = "mse"
    pixel: Weight = 1.0
    perceptual: Weight = 1.0
    """Of the mean squared difference of maps inside the network `features`."""
    adversarial: Weight = 1e-3
    """Of the generator's adversarial loss; 0 for pixels and features alone."""
    features: Literal["auto", "fashion-cnn", "efficientnet-lite0", "none"] = "auto"
    """As of `jaxgan.networks.perceptual`; its weights are fixed."""
    warmup: Whole = 0
    """Steps for pixels alone, before the discriminator starts."""
    ema: Fraction = 0.0
    shared_draws: bool = True


class StackGAN(Adversarial):
    """Text to images, in two stages: `jaxgan.games.stackgan`."""

    family: Literal["stackgan"]
    stage_two: Count
    """The first step of the second stage, in which the first is fixed."""
    given: Literal["text", "embedding", "label"] = "text"
    """What images are made from: captions, by an encoder that is trained; embeddings of captions; or classes."""
    scale: Literal[2, 4, 8] = 4
    """How many times smaller the first stage's images are."""
    encoder: TextEncoder = TextEncoder()
    """Of captions."""
    latent: Count = 100
    latent_kind: Literal["normal", "uniform"] = "normal"
    kl: Weight = 0.016
    """Of the divergence of conditions from standard Gaussians. The paper says 1; its code, which takes the mean over
    128 numbers and doubles it, comes to this."""
    mismatched: Probability = 0.5
    """Share of real images with the text of others in what discriminators should not take for real."""
    ema: Fraction = 0.999
    shared_draws: bool = True

    def model_post_init(self, context: Any) -> None:
        if self.packing > 1:
            raise ValueError("packs images of several texts; set packing to 1")
        if self.flip:
            raise ValueError("flips labels, but what does not fit has none to flip; set flip to 0")
        if self.stage_two <= self.discriminator_pretraining:
            raise ValueError(
                f"begins its second stage at step {self.stage_two}, before its first generator plays; set stage_two "
                f"above discriminator_pretraining, {self.discriminator_pretraining}"
            )


Game = Annotated[
    GAN | Pix2Pix | CycleGAN | Private | AAE | LAPGAN | Refinement | SRGAN | StackGAN,
    Field(discriminator="family"),
]
"""The rules, by their family."""
