"""From settings of networks to Linen modules."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxgan import config
from jaxgan.errors import InputError
from jaxgan.networks.registry import NETWORKS, FieldError, Modules

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Shape(NamedTuple):
    """What a network works on: the facts that modules take from the data and the game."""

    resolution: int
    channels: int
    """Of the images that it makes or judges."""
    classes: int = 0
    """That it is conditional on."""
    dtype: Any = jnp.float32
    latent: int = 0
    """Of the codes that it makes."""
    scale: int = 1
    """How many times larger its images are than what it makes them from."""

    @property
    def image(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.resolution, self.resolution, self.channels


def demand(settings: config.Experiment, **roles: str) -> None:
    """Checks that each network named has the role that the family asks for.

    Raises:
      InputError: If one has not.
    """
    for where, role in roles.items():
        named = getattr(settings, where)
        if role not in named.roles:
            known = [name for name, kind in NETWORKS[where].kinds.items() if role in kind.roles]  # pyright: ignore[reportAttributeAccessIssue]
            raise InputError(
                f"game.family {settings.game.family} takes {where}.network {' or '.join(known)}, not {named.network}"
            )


def module(net: Modules, of: Shape, where: str) -> Any:
    """The module that a network's settings name.

    Args:
      net: The settings.
      of: What it works on.
      where: The key of the settings, for errors.

    Raises:
      InputError: If there is no such network at this resolution, or no such map for attention; or if the network is to
        learn of classes where there are none.
    """
    if getattr(net, "conditioning", None) == "auxiliary" and not of.classes:
        raise InputError(
            f"{where}.conditioning is 'auxiliary', but there are no classes: set game.conditional to true"
        )
    try:
        return net.build(shape=of.image, **of._asdict())
    except FieldError as error:
        if error.field != "resolution":
            raise InputError(f"{where}.{error.field}: {error.reason}") from None
        supported: Any = net.module
        raise InputError(
            f"data.resolution is {of.resolution}, but {where}.network {net.network} supports only "  # pyright: ignore[reportAttributeAccessIssue]
            f"{', '.join(map(str, supported.resolutions))}"
        ) from None
