"""The ways to compute a convolution and its transpose, equal to rounding, each with gradients of every order.

A convolution is linear in its input and in its kernel, so its derivatives are three maps that turn into each other:

    conv(x, w)         dx = input_gradient(dy, w)      dw = weight_gradient(x, dy)
    input_gradient     the transposed convolution      weight_gradient   bilinear like the others

XLA's own derivatives of convolutions are exact too, but on CPU they run a naive kernel wherever they dilate their input
(transposed convolutions) or lose their canonical layout (inside a loop): up to 80 times slower. So on CPU there are
three other ways, and elsewhere the three maps are left to XLA:

- Kernels of two strides (DCGAN's 4x4 with stride 2) in tiles of outputs (`tiles`): nine matrix products where the
  definition has sixteen, or twenty-five where it has sixty-four.
- Other kernels whose patches of the image overlap little (1x1, and strides that divide the kernel) as matrix products
  with the patches (`patches`). They are kept for the weight gradient, which is a product with them too.
- Other kernels (3x3 with stride 1) as each of the three maps written as one stride-1 or kernel-dilated convolution
  with explicit transposes, which keeps XLA's fast kernel (`plain`, which has XLA's own three maps too).

`choice` takes the fastest of them.

Kernels are `[D, kh, kw, C]`: a filter's weights lie in memory as the patch that they meet, and so does their gradient.
Read the other way round (D in, C out) the same kernel is that of the transposed convolution.

For example:

    >>> from jaxgan.layers.convolutions.choice import convolution
    >>> from jaxgan.layers.convolutions.plain import Geometry
    >>> from jaxgan.layers.convolutions.tiles import conv_by_tiles
    >>> geo = Geometry(kernel=(4, 4), size=(16, 16), stride=2, pads=((1, 1), (1, 1)))
    >>> x, w = jnp.ones((16, 16, 16, 16)), jnp.ones((32, 4, 4, 16))
    >>> y = convolution(x, w, geo)  # in the fastest way
    >>> y.shape
    (16, 8, 8, 32)
    >>> bool(jnp.allclose(y, conv_by_tiles(x, w, geo, 2)))  # as are conv_by_products, plain and stock
    True
"""
