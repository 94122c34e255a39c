"""What families wire their players with. What players play for stands in each family's own file.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import MLPDiscriminator, MLPGenerator
    >>> from jaxgan.objectives.adversary import Adversary
    >>> from jaxgan.objectives.latents import Latents
    >>> rules, latents = Adversary(), Latents(8)
    >>> generator, discriminator = MLPGenerator((2,), width=4), MLPDiscriminator(width=4)
    >>> def init(key, batch):
    ...     z = jnp.zeros((len(batch["real"]), latents.size))
    ...     return initial(key, generator=(generator, z), discriminator=(discriminator, batch["real"]))
    >>> def generator_loss(state, batch, keys):
    ...     fake, aux = generated(generator, state, keys, latents.draw(keys))
    ...     judge = judged_by(discriminator, state, "discriminator")
    ...     return rules.fool(judge, fake, keys, state.step)[0], aux
    >>> def sample(state, keys, batch=None):
    ...     return trained(generator, state, "generator", latents.draw(keys))
    >>> players = {"generator": rules.generating(("generator",), generator_loss, None)}
    >>> made = game.Game(init, players, sample)
    >>> def play(real):
    ...     state = game.init(made, jax.random.key(0), {"real": real[0]})
    ...     return made.sample(game.step(made, state, {"real": real})[0], Keys.of(jax.random.key(1), 5), None)
    >>> jax.eval_shape(play, jnp.zeros((made.turns, 4, 2))).shape
    (5, 2)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxgan.game import Array, Aux, Batch, Keys, Nets, State
from jaxgan.objectives.adversary import Judge, apply


def initial(key: Array, /, **networks: tuple[Any, ...]) -> Nets:
    """The Linen variables of networks before the first step, each with a key of its own.

    Args:
      key: Each network's is folded out of it, by the network's place.
      networks: A module and what it takes, for each name.
    """
    keys = [jax.random.fold_in(key, place) for place in range(len(networks))]
    each = zip(keys, networks.items(), strict=True)
    return {name: module.init(own, *given, train=True) for own, (name, (module, *given)) in each}


def generated(generator: nn.Module, state: State, keys: Keys, *given: Any) -> tuple[Any, Aux]:
    """Fakes that the network "generator" makes, and its new statistics.

    Args:
      generator: Called as `generator(*given, train=, keys=)`.
      state: The state, for its parameters and statistics.
      keys: The turn's keys.
      given: What fakes are made from.
    """
    made, stats = apply(generator, state, "generator", *given, keys=keys.fold("generator").example)
    return made, Aux(stats={"generator": stats})


def fakes(
    make: Callable[[State, Batch, Keys], tuple[Any, Aux]], state: State, batch: Batch, keys: Keys
) -> tuple[Any, Aux]:
    """Fakes for a player: those that the step made for all, where `game.Fakes` were given, or else made here."""
    return (batch["fakes"], Aux()) if "fakes" in batch else make(state, batch, keys)


def judged_by(discriminator: nn.Module, state: State, name: str, *given: Any) -> Judge:
    """The judge for `Adversary.discriminate` and `fool` of a discriminator that says logits alone.

    Args:
      discriminator: Called as `discriminator(images, *given, train=, keys=)`.
      state: The state, for its parameters and statistics.
      name: The discriminator's name there.
      given: What it sees beside all images, such as their labels.
    """

    def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
        logits, stats = apply(discriminator, state, name, images, *given, stats=stats, keys=masks)
        return logits, None, stats

    return judge


def trained(module: nn.Module, state: State, name: str, *given: Any, **options: Any) -> Any:
    """What a network makes as trained, with the statistics that it has; in training that is `adversary.apply`."""
    return module.apply(state.variables(name), *given, train=False, **options)
