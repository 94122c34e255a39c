"""What families that make images from images share.

For example:

    >>> from jaxgan.data.sources import Field
    >>> from jaxgan.families import Pix2Pix
    >>> from jaxgan.networks.registry import NETWORKS
    >>> from jaxgan.optimizers import Optimizer
    >>> unet = NETWORKS["generator"].validate({"network": "unet"})
    >>> patchgan = NETWORKS["discriminator"].validate({"network": "patchgan"})
    >>> parts = Parts(unet, patchgan, Optimizer(), Optimizer(), batch_size=1, steps=100, dtype=jnp.float32)
    >>> fields = {"input": Field((32, 32, 3), "float32"), "real": Field((32, 32, 1), "float32")}
    >>> image, given = shapes(Pix2Pix(), parts, Facts(fields, (), 400), "input", "pairs of images")
    >>> image.example, given.example
    ((32, 32, 1), (32, 32, 3))
"""

from jaxgan.data.sources import Source, sides_of
from jaxgan.data.sources.derived import Apart
from jaxgan.errors import InputError
from jaxgan.families.base import Facts, Family, Parts, Shape


def unmatched(source: Source) -> Source:
    """Data of two kinds as families are trained on it that know of no pairs: "other" in an order of its own."""
    return source if len(sides_of(source)) > 1 else Apart(source)


def shapes(family: Family, parts: Parts, facts: Facts, field: str, kind: str) -> tuple[Shape, Shape]:
    """The shapes of images and of what they are made from.

    Args:
      family: Who asks.
      parts: As of `Family.build`; its networks must be of images.
      facts: Likewise.
      field: The field that images are made from.
      kind: What a data set with that field has, for the error.

    Raises:
      InputError: Networks or data are of another kind, or the two are of different sizes.
    """
    parts.demand(family, generator="example", discriminator="example")
    if field not in facts.fields:
        raise InputError(
            f"game.family {family.family} needs {kind}, and the data's fields are {', '.join(facts.fields)}; choose "
            "another data.source or data.task"
        )
    image, given = facts.image(family), facts.image(family, field)
    if image.example[:2] != given.example[:2]:
        sizes = ["{}x{}".format(*shape.example[:2]) for shape in (image, given)]
        raise InputError(f"images are {sizes[0]} and what they are made from {sizes[1]}; make them one size")
    return image, given
