"""What families share: how settings name them, what a config gives them, and what they give back.

A family is one file.

For example:

    >>> from jaxgan.settings import Count
    >>> @family("my-gan")
    ... class Mine(Family):
    ...     latent: Count = 100
    ...
    ...     def game(
    ...         self, generator, discriminator, *, generator_optimizer=None, discriminator_optimizer=None
    ...     ) -> Game: ...
    ...
    ...     def build(self, parts: Parts, facts: Facts) -> Built: ...
    >>> settings = FAMILIES.validate({"family": "my-gan", "latent": 3, "loss": "hinge"})
    >>> settings.latent, settings.loss, settings.discriminator_turns
    (3, 'hinge', 1)
    >>> Facts({"real": Field((28, 28, 1), "float32")}, ("shirt", "bag"), 100).shape(latent=3).known
    {'shape': (28, 28, 1), 'resolution': 28, 'channels': 1, 'classes': 0, 'latent': 3}
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax

from jaxgan.data.order import Poisson
from jaxgan.data.sources import Field, Source
from jaxgan.domains import Domain, Image
from jaxgan.errors import InputError
from jaxgan.game import Array, Batch, Game, State
from jaxgan.layers.minibatch import GROUP
from jaxgan.networks.registry import EXAMPLE_FACTS, NETWORKS, FieldError, Modules, Network, facts_of
from jaxgan.objectives.adversary import Adversary
from jaxgan.objectives.latents import Latents
from jaxgan.objectives.privacy import Ledger
from jaxgan.optimizers import Optimizer
from jaxgan.settings import Class, Registry

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
FAMILIES = Registry("family", "jaxgan.families")
"""What `family = "..."` of a config's `[game]` can name."""


class Shape(NamedTuple):
    """What a network works on: the facts that modules take from the data and the game."""

    example: tuple[int, ...]
    """The shape of what it makes or judges, as networks see it."""
    domain: Domain = Image()
    classes: int = 0
    """That it is conditional on."""
    latent: int | None = None
    """Numbers of the latents that it takes, or of the codes that it makes."""
    scale: int | None = None
    """How many times larger its images are than what it makes them from."""

    @property
    def channels(self) -> int:
        """The last dimension."""
        return self.example[-1]

    @property
    def resolution(self) -> int:
        """The first dimension: pixels of a side, of images."""
        return self.example[0]

    @property
    def known(self) -> dict[str, Any]:
        """The facts by their names."""
        facts = {"classes": self.classes, "latent": self.latent, "scale": self.scale}
        of_examples = self.domain.facts(self.example)
        if unknown := sorted(of_examples.keys() - set(EXAMPLE_FACTS)):
            known = ", ".join(EXAMPLE_FACTS)
            raise InputError(
                f"domain {self.domain.domain} tells the fact {unknown[0]!r}, which is none of {known}"
            )
        told = {"shape": self.example, **of_examples, **facts}
        return {name: fact for name, fact in told.items() if fact is not None}

    def deeper(self, channels: int) -> "Shape":
        """The same with another number of channels."""
        return self._replace(example=(*self.example[:-1], channels))

    def sized(self, resolution: int) -> "Shape":
        """The same of images of another resolution."""
        return self._replace(example=(resolution, resolution, self.channels))


class Facts(NamedTuple):
    """What is known of a data set without its examples."""

    fields: Mapping[str, Field]
    """The fields of examples as networks see them, see `Domain.decode`."""
    classes: Sequence[str]
    examples: int
    domain: Domain = Image()

    def shape(self, name: str = "real", **more: Any) -> Shape:
        """The shape of a field, with more of its fields as keywords."""
        return Shape(self.fields[name].shape, self.domain, **more)

    def image(self, family: "Family", name: str = "real", **more: Any) -> Shape:
        """The shape of a field for a family of square images alone.

        Raises:
          InputError: The examples are no images.
        """
        shape = self.shape(name, **more)
        if not isinstance(self.domain, Image):
            raise InputError(
                f"game.family {family.family} is of images, and the data is of domain {self.domain.domain}; choose "
                "another family, such as gan, or other data"
            )
        return shape

    def conditional(self, asked: bool) -> int:
        """How many classes a game is conditional on: those of the data if asked, else 0.

        Raises:
          InputError: There are none.
        """
        if asked and not self.classes:
            raise InputError(
                "game.conditional is true, but the data has no classes: give it labels or set it to false"
            )
        return len(self.classes) if asked else 0


class Sheet(NamedTuple):
    """Examples in rows."""

    examples: Array
    """As networks make them, `[N, ...]`."""
    columns: int


class Scatter(NamedTuple):
    """Points in the plane, coloured by class."""

    points: Array
    """`[N, 2]`."""
    label: Array
    """`[N]` int."""
    behind: Array
    """Points without classes, behind the others, `[M, 2]`."""


Picture = Sheet | Scatter

SHOWN: Mapping[str, tuple[str, ...]] = {
    "D loss": ("discriminator/loss",),
    "G loss": ("generator/loss",),
    "D(x)": ("discriminator/real", "discriminator/real_logit"),
    "D(G(z))": ("discriminator/fake", "discriminator/fake_logit"),
}
"""What a progress bar shows of most games, see `Built.shown`."""


class Parts(NamedTuple):
    """What a config gives a family besides the family's own settings."""

    generator: Network
    discriminator: Network
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    batch_size: int
    steps: int
    dtype: Any

    @property
    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        """The optimizers, as `game` of a family takes them."""
        return {
            "generator_optimizer": self.generator_optimizer.build(),
            "discriminator_optimizer": self.discriminator_optimizer.build(),
        }

    def demand(self, family: "Family", **roles: str) -> None:
        """Checks that each network named has the role that a family asks for.

        Raises:
          InputError: One has not.
        """
        for where, role in roles.items():
            named: Network = getattr(self, where)
            if role not in named.roles:
                kinds: Any = NETWORKS[where].kinds
                known = " or ".join(name for name, kind in kinds.items() if role in kind.roles)
                raise InputError(
                    f"game.family {family.family} takes {where}.network {known}, not {named.network}"
                )

    def module(self, where: str, shape: Shape, settings: Modules | None = None) -> Any:
        """The module that settings name.

        Args:
          where: The key of the settings, such as "generator".
          shape: What the module works on.
          settings: The settings; those of the key if not given.

        Raises:
          InputError: There is no such network at this resolution, or no such map for attention; or the network is to
            learn of classes where there are none.
        """
        settings = settings or getattr(self, where)
        assert settings is not None
        if getattr(settings, "conditioning", None) == "auxiliary" and not shape.classes:
            raise InputError(
                f"{where}.conditioning is 'auxiliary', but there are no classes: set game.conditional to true"
            )
        needed = getattr(settings, "module", None)
        lacking = sorted(set(EXAMPLE_FACTS) & facts_of(needed) - set(shape.known)) if needed else []
        name = getattr(settings, "network", "")
        rank = getattr(needed, "rank", None)
        if rank is not None and rank != len(shape.example):
            raise InputError(
                f"{where}.network {name} is of examples of {rank} dimensions, and {shape.domain.plural} here have "
                f"{len(shape.example)}; choose another, such as mlp"
            )
        if lacking:
            raise InputError(
                f"{where}.network {name} needs the {lacking[0]} of an example, which {shape.domain.plural} have not; "
                "choose another, such as mlp"
            )
        try:
            return settings.build(dtype=self.dtype, **shape.known)
        except FieldError as error:
            supported = getattr(settings.module, "resolutions", ())
            if error.field != "resolution" or not supported:
                raise InputError(f"{where}.{error.field}: {error.reason}") from None
            raise InputError(
                f"data.resolution is {shape.resolution}, but {where}.network {name} supports only "
                f"{', '.join(map(str, supported))}"
            ) from None

    def generator_of(self, shape: Shape, latent: int) -> Any:
        """The generator of images from latents.

        Args:
          shape: What it works on.
          latent: Numbers of its latents.

        Raises:
          InputError: As `module`, or the latents are too few for the network (its `parts`).
        """
        made = self.module("generator", shape._replace(latent=latent))
        if latent < (parts := getattr(made, "parts", 0)):
            raise InputError(
                f"game.latent is {latent}, but generator.network {self.generator.network} cuts latents into {parts} "
                f"parts at {'x'.join(map(str, shape.example[:-1]))}; give it at least as many"
            )
        return made


class Origin(NamedTuple):
    """A file from outside that a game is made of."""

    module: str
    file: str | None
    """Its path; None where there is no file, as in a notebook."""
    sha256: str
    """The digest of the file, or "unverified" where there is none."""


def _unopened(split: str | None) -> Source:
    raise InputError("the data of this experiment is not known; give its source")


class Built(NamedTuple):
    """A game and how it is sampled; and once it is an experiment's, its settings and data.

    The first field is all that a game needs; the others have defaults for what is made of latents alone.
    """

    game: Game
    classes: int = 0
    """Classes that samples are conditional on; 0 for none."""
    latents: Latents | None = None
    """What samples are made from; None where they are made from examples alone."""
    given: tuple[str, ...] = ()
    """Fields of an example that a sample is made from, such as "input"."""
    settings: "Family | None" = None
    """The family's settings with what was left open in them filled in; None where nothing was."""
    poisson: Poisson | None = None
    """How examples are drawn; None for epochs, each in an order of its own."""
    ledger: Ledger | None = None
    """What a private run costs."""
    pictures: Mapping[str, Callable[[State, Batch], Picture]] = {}
    """What else a report shows, by caption: of a state, and of held-out examples as networks see them."""
    classify: Callable[[State, Array], Array] | None = None
    """The logits of classes `[N, K]` that a network gives to "real" as networks see it, where one learns classes."""
    fixed: Callable[[], dict[str, str]] = dict
    """Loads the networks that losses look through and nobody moves: the SHA-256 of each one's weights, by name."""
    shown: Mapping[str, tuple[str, ...]] = SHOWN
    """What the progress bar shows: by its label, the first of these metrics whose player had a turn."""
    command: Literal["sample", "translate", "upscale"] = "sample"
    """The command that makes images with a run: from nothing of the user's, or of the user's files."""
    back: str | None = None
    """The field that samples are made from on the way back, where there is one."""
    reach: int = 0
    """How many pixels of its input around an output's own place the output depends on, of `upscale`."""
    config: Any = None
    """The `jaxgan.config.Settings`, with what was left open in it filled in."""
    fields: Mapping[str, Field] = {}
    """The fields of the data's examples, as they are stored."""
    domain: Domain = Image()
    """What the examples are."""
    open: Callable[[str | None], Source] = _unopened
    """Opens the data, or another split of it; raises InputError where there is none."""
    origins: tuple[Origin, ...] = ()
    """Files from outside that the game is made of."""

    @property
    def rows(self) -> int:
        """The rows of a batch: its examples, or the slots for them where their number is left to chance."""
        return self.poisson.slots if self.poisson else self.config.batch_size


class Family(Adversary):
    """The settings of a family, the rules between its networks, and the game that they make."""

    family: str = ""
    """The name that the family is registered by."""

    @abstractmethod
    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config.

        Raises:
          InputError: Settings, networks and data do not fit each other.
        """

    def examples(self, source: Source) -> Source:
        """The data as the family is trained on it."""
        return source

    def check_domain(self, domain: Domain) -> None:
        """Checks that the rules take examples of a domain.

        Raises:
          InputError: Augmentation is asked for, and the examples are no images.
        """
        if self.augment and not isinstance(domain, Image):
            raise InputError(
                f"game.augment is of images, and the data is of domain {domain.domain}; leave it out"
            )

    def check_batches(self, discriminator: Network, batch_size: int) -> None:
        """Checks that a discriminator can be trained by these rules in batches of a size.

        Raises:
          InputError: A penalty meets batch norm, or packing or groups for minibatch deviation do not divide the batch.
        """
        if self.slopes and getattr(discriminator, "norm", None) == "batch":
            raise InputError(
                f"game.{self.slopes[0]} judges each image by itself, but discriminator.norm is 'batch', which mixes "
                "them; set it to 'layer' or 'none'"
            )
        if batch_size % self.packing:
            raise InputError(f"game.packing is {self.packing}, which does not divide batch_size {batch_size}")
        judged = batch_size // self.packing
        if getattr(discriminator, "minibatch_std", False) and judged % min(GROUP, judged):
            over = f"over game.packing {self.packing} " if self.packing > 1 else ""
            raise InputError(
                f"discriminator.minibatch_std compares groups of {GROUP}, and {judged} are judged together; make "
                f"batch_size {over}a multiple of {GROUP}"
            )


def family(name: str) -> Callable[[Class], Class]:
    """Registers a family's settings under a name.

    Returns:
      A decorator that gives the class with the field `family` of that name.

    Raises:
      ValueError: The name is taken.
    """
    return FAMILIES.named(name)
