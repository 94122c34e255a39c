"""Multiplications and additions of one training step, counted from the shapes of the layers.

A layer costs the same in all three of its passes: forward, gradient of the input, gradient of the weights; an image
layer 2 N H' W' kh kw C D, with the size of a convolution's output or of a transposed one's input (padding is counted
as if it were image), a dense layer 2 N C D. Norms, activations, optimizers and spectral norm's power iteration are
not counted.

What a step computes of them:

    the generator           one forward pass; one more for each of the discriminator's turns where draws are not shared
    a discriminator's turn  forward and both gradients, on real and on generated images
    a gradient penalty      in each of those turns: forward, gradient of the images, and through that gradient again
                            to the weights: one pass for the weights and one for the gradient that came in
    the generator's turn    the discriminator forward and back to the image; both gradients of the generator

A layer that reads latents or images needs no gradient of its input when its own weights are learned. Through a
penalty's gradient nothing flows back into the forward pass: activations are piecewise linear, and no norm is assumed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import config, layers
from jaxgan.families.base import DTYPES
from jaxgan.networks.resnet import ConvPool, UpsampleConv


class Layer(NamedTuple):
    """One call of a layer: the shapes of what goes in, laid out as `jaxgan.layers.conv` describes."""

    kind: str
    """dense, conv or conv_transpose."""
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    padding: Any = "SAME"
    out: tuple[int, ...] = ()
    after_weights: bool = True
    """Whether the input depends on weights of this network, so that it needs a gradient when those are learned."""
    after_input: bool = True
    """Whether the input depends on what the network reads: on the image, not only on the label."""

    @property
    def flops(self) -> int:
        """Of each of the three passes."""
        size = self.out[1:3] if self.kind == "conv" else self.x[1:-1]
        return 2 * self.x[0] * int(np.prod(size)) * int(np.prod(self.w))


def read(module: nn.Module, x: jax.Array, out: jax.Array) -> Layer | None:
    """The layer that a module is, where it is one."""
    shapes: dict[str, Any] = {"x": x.shape, "out": out.shape}
    if isinstance(module, nn.Dense):
        return Layer("dense", w=(x.shape[-1], module.features), **shapes)
    kinds = {"conv": layers.Conv | ConvPool, "conv_transpose": layers.ConvTranspose | UpsampleConv}
    for kind, types in kinds.items():
        if isinstance(module, types):
            one = isinstance(
                module, ConvPool | UpsampleConv
            )  # two layers written as one: see networks/resnet.py
            size, stride, padding = (4, 2, 1) if one else (module.kernel, module.stride, module.padding)
            d, c = (module.features, x.shape[-1]) if kind == "conv" else (x.shape[-1], module.features)
            return Layer(kind, w=(d, size, size, c), stride=stride, padding=padding, **shapes)
    return None


def of_network(
    network: nn.Module, x: jax.ShapeDtypeStruct, label: jax.ShapeDtypeStruct | None = None
) -> list[Layer]:
    """The layers of a network in the order in which they are called; nothing is computed."""

    def init(x: Any, label: Any) -> Any:
        return network.init(jax.random.key(0), x, label, train=True)

    variables = jax.eval_shape(init, x, label)
    found: list[list[Layer]] = [[], []]

    def trace(of_weights: bool, variables: Any, x: Any, label: Any) -> Any:
        def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            out = call(*args, **kwargs)
            if context.method_name == "__call__" and (layer := read(context.module, args[0], out)):
                # Only what depends on the arguments of `jvp` is traced by it.
                depends = type(args[0]).__name__ == "JVPTracer"
                change = {"after_weights" if of_weights else "after_input": depends}
                found[of_weights].append(layer._replace(**change))
            return out

        def run(params: Any, x: Any) -> Any:
            with nn.intercept_methods(watch):
                rest = [name for name in variables if name != "params"]
                return network.apply({**variables, "params": params}, x, label, train=True, mutable=rest)[0]

        params = variables["params"]
        if of_weights:
            return jax.jvp(lambda params: run(params, x), (params,), (params,))
        return jax.jvp(lambda x: run(params, x), (x,), (x,))

    jax.eval_shape(lambda *args: (trace(False, *args), trace(True, *args)), variables, x, label)
    return [a._replace(after_weights=b.after_weights) for a, b in zip(*found, strict=True)]


class Step(NamedTuple):
    """FLOPs of one step, by part."""

    generator_forward: int
    discriminator_turns: int
    penalties: int
    generator_turn: int

    @property
    def total(self) -> int:
        return sum(self)


def of_step(
    generator: Sequence[Layer],
    discriminator: Sequence[Layer],
    *,
    turns: int = 1,
    shared: bool,
    penalties: int = 0,
) -> Step:
    """One step of `families.GAN` with so many turns of the discriminator, each with so many gradient penalties."""
    forward = [sum(layer.flops for layer in net) for net in (generator, discriminator)]
    inputs = [sum(layer.flops for layer in net if layer.after_weights) for net in (generator, discriminator)]
    path = [layer.flops for layer in discriminator if layer.after_input]
    # What comes in at the last layer of the path is the derivative of the logit, a constant.
    penalty = forward[1] + sum(path) + 2 * sum(path) - path[-1]
    return Step(
        generator_forward=forward[0] * (1 if shared else turns + 1),
        discriminator_turns=turns * 2 * (2 * forward[1] + inputs[1]),
        penalties=turns * penalties * penalty,
        generator_turn=forward[1] + sum(path) + forward[0] + inputs[0],
    )


def networks(settings: config.Settings, classes: int = 10) -> tuple[list[Layer], list[Layer]]:
    """The layers of both networks of a config, on one batch."""
    data, n = settings.data, settings.batch_size
    conditions = classes if settings.game.conditional else 0
    label = jax.ShapeDtypeStruct((n,), jnp.int32) if conditions else None
    z = jax.ShapeDtypeStruct((n, settings.game.latent), jnp.float32)
    image = jax.ShapeDtypeStruct((n, data.resolution, data.resolution, data.channels), jnp.float32)
    facts = {
        "shape": (data.resolution, data.resolution, data.channels),
        **{"resolution": data.resolution, "channels": data.channels, "classes": conditions},
        "dtype": DTYPES[settings.compute_dtype],
    }
    generator, discriminator = settings.generator.build(**facts), settings.discriminator.build(**facts)
    return of_network(generator, z, label), of_network(discriminator, image, label)


def of_config(settings: config.Settings, classes: int = 10) -> Step:
    """One step of a config."""
    rules = settings.game
    return of_step(
        *networks(settings, classes),
        turns=rules.discriminator_turns,
        shared=rules.shared_draws,
        penalties=sum(bool(weight) for weight in (rules.gradient_penalty, rules.r1)),
    )
