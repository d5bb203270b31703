"""Convolution as a matrix product.

`unfold` lays the C/G x kh x kw values under each of the L windows as a column; the weight, one
filter a row, times these columns is the output:

    columns (N, G, K, L),  weight (G, O/G, K)  ->  y (N, G, O/G, L)

where K = C/G * kh * kw and L = Ho * Wo. Both gradients are the same product with a factor
transposed, and `fold`, which adds columns back into an image, is the transpose of `unfold`.
Derivations: docs/gradients.md.
"""

from torch import Tensor

from chainrule.backends.block import Block
from chainrule.backends.reference.activation import activation, activation_grad
from chainrule.backends.reference.resampling import upsample_nearest2d, upsample_nearest2d_grad
from chainrule.backends.reference.windows import columns_of, fold_into, pad
from chainrule.geometry import Pair, Window, image_size


def block(x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, layers: Block) -> Tensor:
    """y = f(convolution(upsampling(x))), (N, O, *size)."""
    window, groups = layers.window, layers.groups
    if layers.transposed:
        z = _conv_transpose2d(x, weight, bias, size, window, groups)
    else:
        z = _conv2d(_enlarged(x, layers), weight, bias, window, groups)
    return activation(z, layers.epilogue)


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    """dL/dx, through the activation, the convolution and the upsampling."""
    gz = activation_grad(gy, y, layers.epilogue)
    window, groups, scale = layers.window, layers.groups, layers.scale
    if layers.transposed:
        return _conv2d(gz, weight, None, window, groups)[:, :, : input_size[0], : input_size[1]]
    enlarged = (input_size[0] * scale[0], input_size[1] * scale[1])
    gx = _conv2d_input_grad(gz, weight, enlarged, window, groups)
    return gx if scale == (1, 1) else upsample_nearest2d_grad(gx, scale)


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias."""
    gz = activation_grad(gy, y, layers.epilogue)
    if layers.transposed:
        return _conv2d_weight_grad(gz, x, layers.window, layers.groups), _bias_grad(gz)
    gweight = _conv2d_weight_grad(_enlarged(x, layers), gz, layers.window, layers.groups)
    return gweight, _bias_grad(gz)


def _enlarged(x: Tensor, layers: Block) -> Tensor:
    return x if layers.scale == (1, 1) else upsample_nearest2d(x, layers.scale)


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> Tensor:
    """y[n,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[n,c, i*s + u*d - p, j*s + v*d - p]."""
    columns = columns_of(pad(x, window, 0), window, groups)
    y = _filters(weight, groups) @ columns
    y = y.reshape(x.shape[0], weight.shape[0], *window.output_size(image_size(x)))
    return y if bias is None else y.add_(bias.reshape(1, -1, 1, 1))


def _conv2d_input_grad(
    gy: Tensor, weight: Tensor, input_size: Pair, window: Window, groups: int
) -> Tensor:
    """dL/dx = fold(w^T gy): each output's gradient goes back to the inputs under its window."""
    columns = _filters(weight, groups).transpose(1, 2) @ _by_group(gy, groups)
    columns = columns.reshape(gy.shape[0], -1, columns.shape[-1])
    return fold_into(columns, image_size(gy), input_size, window)


def _conv2d_weight_grad(x: Tensor, gy: Tensor, window: Window, groups: int) -> Tensor:
    """dL/dw = sum_n gy columns^T: the weight multiplies the columns, so they are its gradient."""
    rows, width = window.covered(image_size(gy))
    columns = columns_of(pad(x, window, 0)[:, :, :rows, :width], window, groups)
    gradient = (_by_group(gy, groups) @ columns.transpose(2, 3)).sum(0)
    return gradient.reshape(gy.shape[1], x.shape[1] // groups, *window.kernel)


def _conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, window: Window, groups: int
) -> Tensor:
    """The input gradient of a convolution, used forward: y (N, O, *size)."""
    # Not a view: a layer's tape would keep the padding around it alive.
    y = _conv2d_input_grad(x, weight, size, window, groups).contiguous()
    return y if bias is None else y.add_(bias.reshape(1, -1, 1, 1))


def _bias_grad(gy: Tensor) -> Tensor:
    """dL/db[o] = sum_{n,i,j} gy[n,o,i,j]."""
    return gy.sum((0, 2, 3))


def _filters(weight: Tensor, groups: int) -> Tensor:
    """(O, C/G, kh, kw) -> (G, O/G, K)."""
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _by_group(y: Tensor, groups: int) -> Tensor:
    """(N, O, H, W) -> (N, G, O/G, L)."""
    return y.reshape(y.shape[0], groups, y.shape[1] // groups, -1)
