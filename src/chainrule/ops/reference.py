"""The reference backend: every op as its textbook formula, forward and backward side by side.

It is the definition of right: any device, any float dtype, and nothing but Tensor methods, `empty`,
`cat`, `arange`, `fold` and `unfold`. Arguments have been checked by the caller.

A convolution is a matrix product. `unfold` lays the C/G x kh x kw values under each of the L
windows as a column; the weight, one filter a row, times these columns is the output:

    columns (N, G, K, L),  weight (G, O/G, K)  ->  y (N, G, O/G, L),   K = C/G * kh * kw, L = Ho *
    Wo

Both gradients are the same product with a factor transposed, and `fold`, which adds columns back
into an image, is the transpose of `unfold`. Derivations: docs/gradients.md.
"""

from torch import Tensor, cat
from torch.nn.functional import fold, unfold

from chainrule.ops.geometry import Block, Pair, Window, image_size

# -- convolution ----------------------------------------------------------------------------------


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> Tensor:
    """y[n,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[n,c, i*s + u*d - p, j*s + v*d - p]."""
    columns = _columns(_pad(x, window, 0), window, groups)
    y = _filters(weight, groups) @ columns
    y = y.reshape(x.shape[0], weight.shape[0], *window.output_size(image_size(x)))
    return y if bias is None else y.add_(bias.reshape(1, -1, 1, 1))


def conv2d_input_grad(
    gy: Tensor, weight: Tensor, input_size: Pair, window: Window, groups: int
) -> Tensor:
    """dL/dx = fold(w^T gy): each output's gradient goes back to the inputs under its window."""
    columns = _filters(weight, groups).transpose(1, 2) @ _by_group(gy, groups)
    columns = columns.reshape(gy.shape[0], -1, columns.shape[-1])
    return _fold_into(columns, image_size(gy), input_size, window)


def conv2d_weight_grad(x: Tensor, gy: Tensor, window: Window, groups: int) -> Tensor:
    """dL/dw = sum_n gy columns^T: the weight multiplies the columns, so they are its gradient."""
    rows, width = window.covered(image_size(gy))
    columns = _columns(_pad(x, window, 0)[:, :, :rows, :width], window, groups)
    gradient = (_by_group(gy, groups) @ columns.transpose(2, 3)).sum(0)
    return gradient.reshape(gy.shape[1], x.shape[1] // groups, *window.kernel)


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, window: Window, groups: int
) -> Tensor:
    """The input gradient of a convolution, used forward: y (N, O, *size)."""
    # Not a view: a layer's tape would keep the padding around it alive.
    y = conv2d_input_grad(x, weight, size, window, groups).contiguous()
    return y if bias is None else y.add_(bias.reshape(1, -1, 1, 1))


def bias_grad(gy: Tensor) -> Tensor:
    """dL/db[o] = sum_{n,i,j} gy[n,o,i,j]."""
    return gy.sum((0, 2, 3))


def _filters(weight: Tensor, groups: int) -> Tensor:
    """(O, C/G, kh, kw) -> (G, O/G, K)."""
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _by_group(y: Tensor, groups: int) -> Tensor:
    """(N, O, H, W) -> (N, G, O/G, L)."""
    return y.reshape(y.shape[0], groups, y.shape[1] // groups, -1)


def _columns(padded: Tensor, window: Window, groups: int) -> Tensor:
    """(N, C, H, W) -> (N, G, K, L), a column for each window."""
    columns = unfold(padded, window.kernel, window.dilation, 0, window.stride)
    return columns.reshape(columns.shape[0], groups, -1, columns.shape[-1])


def _fold_into(columns: Tensor, count: Pair, size: Pair, window: Window) -> Tensor:
    """(N, C * kh * kw, L) -> (N, C, *size): every window added in its place, padding cut off."""
    covered, padded = window.covered(count), window.padded(size)
    image = fold(columns, covered, window.kernel, window.dilation, 0, window.stride)
    if covered != padded:  # rows and columns that no window reaches
        partial = image
        image = image.new_zeros(*image.shape[:2], *padded)
        image[:, :, : covered[0], : covered[1]] = partial
    top, _, left, _ = window.pads
    return image[:, :, top : top + size[0], left : left + size[1]]


def _pad(x: Tensor, window: Window, value: float) -> Tensor:
    if not any(window.pads):
        return x
    top, _, left, _ = window.pads
    height, width = image_size(x)
    padded = x.new_full((*x.shape[:2], *window.padded((height, width))), value)
    padded[:, :, top : top + height, left : left + width] = x
    return padded


# -- pooling and resampling -----------------------------------------------------------------------


def max_pool2d(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """y = the largest value under each window, and which of the window's kh * kw places held it."""
    columns = _columns(_pad(x, window, float("-inf")), window, x.shape[1])
    values, places = columns.max(2)
    shape = (*x.shape[:2], *window.output_size(image_size(x)))
    return values.reshape(shape), places.reshape(shape).int()


def max_pool2d_grad(gy: Tensor, places: Tensor, input_size: Pair, window: Window) -> Tensor:
    """dL/dx: gy goes to the place that held the maximum."""
    n, channels = gy.shape[:2]
    kernel = window.kernel[0] * window.kernel[1]
    columns = gy.new_zeros(n, channels, kernel, gy.shape[2] * gy.shape[3])
    columns.scatter_(2, places.long().reshape(n, channels, 1, -1), gy.reshape(n, channels, 1, -1))
    columns = columns.reshape(n, channels * kernel, -1)
    return _fold_into(columns, image_size(gy), input_size, window)


def avg_pool2d(x: Tensor, window: Window, count_include_pad: bool) -> Tensor:
    """y = the sum under each window over the number of values that count."""
    columns = _columns(_pad(x, window, 0), window, x.shape[1])
    sums = columns.sum(2).reshape(*x.shape[:2], *window.output_size(image_size(x)))
    return sums / _counts(sums, image_size(x), window, count_include_pad)


def avg_pool2d_grad(
    gy: Tensor, input_size: Pair, window: Window, count_include_pad: bool
) -> Tensor:
    """dL/dx: gy over the count goes to every place under the window."""
    shares = gy / _counts(gy, input_size, window, count_include_pad)
    n, channels = gy.shape[:2]
    kernel = window.kernel[0] * window.kernel[1]
    columns = shares.reshape(n, channels, 1, -1).repeat(1, 1, kernel, 1)
    columns = columns.reshape(n, channels * kernel, -1)
    return _fold_into(columns, image_size(gy), input_size, window)


def _counts(like: Tensor, size: Pair, window: Window, count_include_pad: bool) -> Tensor:
    """How many values count in each window, shape (1, 1, Ho, Wo)."""
    ones = _pad(like.new_ones(1, 1, *size), window, 1 if count_include_pad else 0)
    return _columns(ones, window, 1).sum(2).reshape(1, 1, *window.output_size(size))


def upsample_nearest2d(x: Tensor, scale: Pair) -> Tensor:
    """y[n,c,i,j] = x[n,c, i // sh, j // sw]."""
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels, height, 1, width, 1)
    blocks = blocks.expand(n, channels, height, scale[0], width, scale[1])
    return blocks.reshape(n, channels, height * scale[0], width * scale[1])


def upsample_nearest2d_grad(gy: Tensor, scale: Pair) -> Tensor:
    """dL/dx = the sum of gy over the block that repeats x."""
    n, channels, height, width = gy.shape
    blocks = gy.reshape(n, channels, height // scale[0], scale[0], width // scale[1], scale[1])
    return blocks.sum((3, 5))


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    """[a, b] along the channels."""
    return cat((a, b), 1)


# -- activations: each gradient is written in y, which the next layer keeps anyway -----------------


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0)."""
    return x.clamp(min=0)


def relu_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx = gy where y > 0, else 0."""
    return gy.where(y > 0, 0)


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """y = x where x > 0, else slope * x."""
    return x.where(x > 0, x * slope)


def leaky_relu_grad(gy: Tensor, y: Tensor, slope: float) -> Tensor:
    """dL/dx = gy where y > 0, else slope * gy; for slope >= 0, y and x have the same sign."""
    return gy.where(y > 0, gy * slope)


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + exp(-x))."""
    return x.sigmoid()


def sigmoid_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx = gy y (1 - y)."""
    return gy * y * (1 - y)


def tanh(x: Tensor) -> Tensor:
    """y = tanh(x)."""
    return x.tanh()


def tanh_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx = gy (1 - y^2)."""
    return gy * (1 - y * y)


# -- a convolution with what stands before and after it --------------------------------------------


def block(x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, layers: Block) -> Tensor:
    """y = activation(convolution(upsampling(x))), (N, O, *size)."""
    if layers.transposed:
        z = conv_transpose2d(x, weight, bias, size, layers.window, layers.groups)
    else:
        z = conv2d(_enlarged(x, layers), weight, bias, layers.window, layers.groups)
    if layers.activation == "relu":
        return relu(z)
    if layers.activation == "leaky_relu":
        return leaky_relu(z, layers.slope)
    return sigmoid(z) if layers.activation == "sigmoid" else z


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    """dL/dx, through the activation, the convolution and the upsampling."""
    gz = _before_activation(gy, y, layers)
    window, groups, scale = layers.window, layers.groups, layers.scale
    if layers.transposed:
        return conv2d(gz, weight, None, window, groups)[:, :, : input_size[0], : input_size[1]]
    enlarged = (input_size[0] * scale[0], input_size[1] * scale[1])
    gx = conv2d_input_grad(gz, weight, enlarged, window, groups)
    return gx if scale == (1, 1) else upsample_nearest2d_grad(gx, scale)


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias."""
    gz = _before_activation(gy, y, layers)
    if layers.transposed:
        return conv2d_weight_grad(gz, x, layers.window, layers.groups), bias_grad(gz)
    gweight = conv2d_weight_grad(_enlarged(x, layers), gz, layers.window, layers.groups)
    return gweight, bias_grad(gz)


def _enlarged(x: Tensor, layers: Block) -> Tensor:
    return x if layers.scale == (1, 1) else upsample_nearest2d(x, layers.scale)


def _before_activation(gy: Tensor, y: Tensor, layers: Block) -> Tensor:
    """dL/dz from dL/dy, where y = activation(z)."""
    if layers.activation == "relu":
        return relu_grad(gy, y)
    if layers.activation == "leaky_relu":
        return leaky_relu_grad(gy, y, layers.slope)
    return sigmoid_grad(gy, y) if layers.activation == "sigmoid" else gy


# -- batch normalization ---------------------------------------------------------------------------


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (over M = N H W values, divided by M) of each channel, shape (C,)."""
    return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)


def normalize(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """xhat = (x - mean) * scale, channel by channel, where scale = 1 / sqrt(var + eps)."""
    return (x - _per_channel(mean)) * _per_channel(scale)


def normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx when mean and variance are those of x itself and change with it.

    dL/dx = scale * (gxhat - mean(gxhat) - xhat * mean(gxhat * xhat)), means over N, H and W.
    """
    mean = gxhat.mean((0, 2, 3), keepdim=True)
    slope = (gxhat * xhat).mean((0, 2, 3), keepdim=True)
    return (gxhat - mean - xhat * slope) * _per_channel(scale)


def normalize_fixed_grad(gxhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx = scale * gxhat when mean and scale are fixed numbers."""
    return gxhat * _per_channel(scale)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y = weight * x + bias, channel by channel."""
    return x * _per_channel(weight) + _per_channel(bias)


def affine_grad(gy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx = weight * gy, dL/dweight = sum gy * x, dL/dbias = sum gy."""
    return gy * _per_channel(weight), (gy * x).sum((0, 2, 3)), gy.sum((0, 2, 3))


def _per_channel(values: Tensor) -> Tensor:
    return values.reshape(1, -1, 1, 1)


# -- losses ----------------------------------------------------------------------------------------


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2, a scalar."""
    return (prediction - target).square().sum()


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    """2 scale (prediction - target)."""
    return (prediction - target).mul_(2 * scale)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum |prediction - target|, a scalar."""
    return (prediction - target).abs().sum()


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    """scale sign(prediction - target), 0 where they are equal."""
    return (prediction - target).sign_().mul_(scale)


# -- gradients and optimizers ----------------------------------------------------------------------


def accumulate(total: Tensor, gradient: Tensor) -> None:
    """total += gradient."""
    total.add_(gradient)


def zero(values: Tensor) -> None:
    """values = 0."""
    values.zero_()


def sgd_step(
    value: Tensor,
    gradient: Tensor,
    velocity: Tensor | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """p = p - lr v, where g = gradient + weight_decay p and v = momentum v + (1 - dampening) g."""
    if weight_decay:
        gradient = gradient.add(value, alpha=weight_decay)
    if velocity is not None:
        if first:
            velocity.copy_(gradient)
        else:
            velocity.mul_(momentum).add_(gradient, alpha=1 - dampening)
        gradient = gradient.add(velocity, alpha=momentum) if nesterov else velocity
    value.add_(gradient, alpha=-lr)


def adam_step(
    value: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    keep: float,
    steps: int,
) -> None:
    """p = keep p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), m and v running averages."""
    if weight_decay:
        gradient = gradient.add(value, alpha=weight_decay)
    mean.lerp_(gradient, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    divisor = (square.sqrt() / (1 - betas[1] ** steps) ** 0.5).add_(eps)
    if keep != 1:
        value.mul_(keep)
    value.addcdiv_(mean, divisor, value=-lr / (1 - betas[0] ** steps))
