"""MiniLM, a small BERT that turns sentences into embeddings whose angles tell how alike their meanings are.

For example:

    >>> network, tokens = MiniLM(), jnp.array([[101, 7592, 102], [101, 102, 0]])  # 0 is behind the end
    >>> embeddings, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), tokens)
    >>> embeddings.shape
    (2, 384)
    >>> round(sum(x.size for x in jax.tree.leaves(variables)) / 1e6, 1)  # million parameters
    22.6
"""

import os
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.networks import weights

SOURCE = "model.safetensors of all-MiniLM-L6-v2"
EPSILON = 1e-12
"""What layer norms add to variances."""
WIDTH = 384
"""Numbers of an embedding."""
LENGTH = 128
"""Tokens that are read of a sentence at most, as the model was trained."""


class Layer(nn.Module):
    """A layer of BERT: attention and two dense layers, each added to its input and then normalised."""

    heads: int
    inner: int

    @nn.compact
    def __call__(self, x: jax.Array, seen: jax.Array) -> jax.Array:
        """`[N, L, C]` and which tokens are words, `[N, L]` bool, to `[N, L, C]`."""
        n, length, width = x.shape

        def dense(name: str, features: int, x: jax.Array) -> jax.Array:
            return nn.Dense(features, name=name)(x)

        def split(name: str) -> jax.Array:
            return dense(name, width, x).reshape(n, length, self.heads, width // self.heads)

        query, key, value = split("query"), split("key"), split("value")
        mixed = jax.nn.dot_product_attention(query, key, value, mask=seen[:, None, None]).reshape(x.shape)
        x = nn.LayerNorm(EPSILON, name="norm_attention")(x + dense("mix", width, mixed))
        inner = nn.gelu(dense("inner", self.inner, x), approximate=False)
        return nn.LayerNorm(EPSILON, name="norm_outer")(x + dense("outer", width, inner))


class MiniLM(nn.Module):
    """Tokens `[N, L]` to embeddings `[N, width]` of length 1: the mean over tokens of what BERT makes of them.

    References:
      Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, 2019.
      Wang et al., MiniLM: Deep Self-Attention Distillation, 2020.
      Reimers and Gurevych, Sentence-BERT, 2019 (the mean over tokens).
    """

    words: int = 30522
    positions: int = 512
    width: int = WIDTH
    layers: int = 6
    heads: int = 12
    inner: int = 1536

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """int32 `[N, L]`, 0 behind the end, to float32 `[N, width]`."""
        seen = tokens > 0
        x = nn.Embed(self.words, self.width, name="word")(tokens)
        x = x + nn.Embed(self.positions, self.width, name="position")(jnp.arange(tokens.shape[1]))[None]
        x = x + nn.Embed(2, self.width, name="kind")(jnp.zeros((1, 1), jnp.int32))  # of the first sentence
        x = nn.LayerNorm(EPSILON, name="norm")(x)
        for i in range(self.layers):
            x = Layer(self.heads, self.inner, name=f"layer_{i}")(x, seen)
        mean = jnp.sum(x * seen[..., None], 1) / jnp.maximum(jnp.sum(seen, 1), 1)[:, None]
        return mean / jnp.maximum(jnp.linalg.norm(mean, axis=1, keepdims=True), EPSILON)


_PLACES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "norm_attention": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm_outer": "output.LayerNorm",
}
_EMBEDDINGS = {
    "word": "word_embeddings",
    "position": "position_embeddings",
    "kind": "token_type_embeddings",
    "norm": "LayerNorm",
}
_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def _name(path: tuple[str, ...]) -> str:
    """What the file calls a parameter of the module."""
    *above, leaf = path
    kind = "bias" if leaf == "bias" else "weight"
    if len(above) == 1:
        return f"embeddings.{_EMBEDDINGS[above[0]]}.{kind}"
    layer, part = above
    return f"encoder.layer.{layer.removeprefix('layer_')}.{_PLACES[part]}.{kind}"


def load(path: str | os.PathLike[str], network: MiniLM | None = None) -> dict[str, Any]:
    """The variables of `MiniLM` from a file of PyTorch's arrays.

    Args:
      path: `model.safetensors` of all-MiniLM-L6-v2, or its arrays as `.npz` or `.pth`.
      network: Of another size than the default.

    Returns:
      What `MiniLM().apply` takes, float32.

    Raises:
      InputError: naming the file, where it cannot be read or holds the weights of something else.
    """
    module = network or MiniLM()
    made = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 4), jnp.int32))
    leaves: dict[tuple[str, ...], Any] = flatten_dict(made["params"])  # pyright: ignore[reportAssignmentType]
    turned = {at for at in leaves if at[-1] == "kernel"}  # PyTorch has outputs first
    expected = {_name(at): leaf.shape[::-1] if at in turned else leaf.shape for at, leaf in leaves.items()}
    table = {name: x for name, x in weights.read(path).items() if name not in _UNUSED}
    weights.fit(table, expected, path, SOURCE)

    def parameter(at: tuple[str, ...]) -> jax.Array:
        x: np.ndarray = table[_name(at)]
        return jnp.asarray(x.T if at in turned else x, jnp.float32)

    return {"params": unflatten_dict({at: parameter(at) for at in leaves})}
