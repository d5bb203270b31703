"""The public ops: pure functions in pairs, forward and gradient. Each checks, then dispatches.

`on(x)` is the backend that computes with x: see `chainrule.ops.backends`. This is the only place
with shape checks, and where what is written in place through a pointer is marked as written: passes
that wait for their gradient watch for that. An error names the op, what was expected and what came.
Images are (N, C, H, W), all sizes at least 1, of one float dtype and on one device.
"""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import increment_version

from chainrule.ops.backends import on
from chainrule.ops.geometry import (
    LARGEST,
    Block,
    IntOrPair,
    Padding,
    Pair,
    Window,
    image_size,
    pair,
    window,
)

# -- convolution ----------------------------------------------------------------------------------


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of x (N, C, H, W) with weight (O, C/groups, kh, kw): (N, O, Ho, Wo).

    y[n,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[n,c, i*stride + u*dilation - padding, ...]

    Raises:
        TypeError, ValueError: shapes, dtypes or arguments that don't fit, with the values met.
    """
    name = "Conv2d"
    _check_images(name, "input", x)
    _check_filters(name, weight, groups)
    _check_channels(name, x, weight.shape[1] * groups, weight)
    _check_alike(name, x, weight=weight, bias=bias)
    _check_bias(name, bias, weight.shape[0])
    sliding = window(image_size(weight), stride, padding, dilation)
    _check_fits(name, x, sliding)
    return on(x).conv2d(x, weight, bias, sliding, groups)


def conv2d_input_grad(
    gy: Tensor,
    weight: Tensor,
    input_size: Pair,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """dL/dx of `conv2d`, (N, C, H, W) with (H, W) = input_size, from gy = dL/dy (N, O, Ho, Wo).

    Raises:
        ValueError: gy is not of y's shape.
    """
    name = "Conv2d"
    _check_filters(name, weight, groups)
    sliding = window(image_size(weight), stride, padding, dilation)
    _check_gradient(name, gy, (gy.shape[0], weight.shape[0], *sliding.output_size(input_size)))
    _check_alike(name, gy, _GRADIENT, weight=weight)
    return on(gy).conv2d_input_grad(gy, weight, input_size, sliding, groups)


def conv2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    kernel_size: Pair,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """dL/dweight of `conv2d`, (O, C/groups, kh, kw), from x and gy = dL/dy.

    Raises:
        ValueError: gy is not of y's shape.
    """
    name = "Conv2d"
    sliding = window(kernel_size, stride, padding, dilation)
    _check_gradient(name, gy, (x.shape[0], gy.shape[1], *sliding.output_size(image_size(x))))
    _check_pair(name, x, gy, groups)
    return on(x).conv2d_weight_grad(x, gy, sliding, groups)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Transposed convolution: `conv2d_input_grad` used forward.

    x (N, C, H, W) with weight (C, O/groups, kh, kw) gives (N, O, Ho, Wo) where
    Ho = (H - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1.

    Raises:
        TypeError, ValueError: shapes, dtypes or arguments that don't fit, with the values met.
    """
    name = "ConvTranspose2d"
    _check_images(name, "input", x)
    _check_filters(name, weight, groups)
    _check_channels(name, x, weight.shape[0], weight)
    _check_alike(name, x, weight=weight, bias=bias)
    outputs = weight.shape[1] * groups
    _check_bias(name, bias, outputs)
    sliding = window(image_size(weight), stride, padding, dilation)
    size = _transposed_size(name, x, sliding, pair("output_padding", output_padding, 0))
    return on(x).conv_transpose2d(x, weight, bias, size, sliding, groups)


def conv_transpose2d_input_grad(
    gy: Tensor,
    weight: Tensor,
    input_size: Pair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """dL/dx of `conv_transpose2d`: a plain convolution of gy (N, O, Ho, Wo) with the same weight.

    Raises:
        ValueError: gy is not of y's shape.
    """
    name = "ConvTranspose2d"
    _check_filters(name, weight, groups)
    sliding = window(image_size(weight), stride, padding, dilation)
    size = sliding.transposed_size(input_size, pair("output_padding", output_padding, 0))
    _check_gradient(name, gy, (gy.shape[0], weight.shape[1] * groups, *size))
    _check_alike(name, gy, _GRADIENT, weight=weight)
    return on(gy).conv2d(gy, weight, None, sliding, groups)[:, :, : input_size[0], : input_size[1]]


def conv_transpose2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    kernel_size: Pair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """dL/dweight of `conv_transpose2d`: `conv2d_weight_grad` with x and gy in each other's place.

    Raises:
        ValueError: gy is not of y's shape.
    """
    name = "ConvTranspose2d"
    sliding = window(kernel_size, stride, padding, dilation)
    added = pair("output_padding", output_padding, 0)
    size = sliding.transposed_size(image_size(x), added)
    _check_gradient(name, gy, (x.shape[0], gy.shape[1], *size))
    _check_pair(name, x, gy, groups)
    return on(x).conv2d_weight_grad(gy, x, sliding, groups)


# -- a convolution with what stands before and after it -------------------------------------------


def block(x: Tensor, weight: Tensor, bias: Tensor | None, layers: Block) -> Tensor:
    """[Nearest upsampling,] convolution [and activation] in one: what `chainrule.fusion` makes.

    Raises:
        TypeError, ValueError: as the ops that it stands for; upsampling before anything but a
            convolution of stride 1 and dilation 1.
    """
    name = _block_name(layers)
    _check_images(name, "input", x)
    inputs, outputs = _block_channels(name, weight, layers)
    _check_channels(name, x, inputs, weight)
    _check_alike(name, x, weight=weight, bias=bias)
    _check_bias(name, bias, outputs)
    size = layers.output_size(image_size(x))
    if min(size) < 1:
        raise ValueError(
            f"{name}: the window spans {layers.window.span}, too much for the input {_shape(x)}"
        )
    return on(x).block(x, weight, bias, size, layers)


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    """dL/dx of `block` from gy = dL/dy and its output y.

    Raises:
        TypeError, ValueError: gy or y is not of the output's shape or dtype.
    """
    name = _block_name(layers)
    outputs = _block_channels(name, weight, layers)[1]
    shape = (gy.shape[0], outputs, *layers.output_size(input_size))
    _check_gradient(name, gy, shape)
    _check_output(name, gy, y)
    _check_alike(name, gy, _GRADIENT, weight=weight)
    return on(gy).block_input_grad(gy, y, weight, input_size, layers)


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias of `block`, from its input x, gy = dL/dy and its output y.

    Together, because both are sums over gy. Without an activation y is not read; give gy instead.

    Raises:
        TypeError, ValueError: gy or y is not of the output's shape or dtype.
    """
    name = _block_name(layers)
    _check_gradient(name, gy, (x.shape[0], gy.shape[1], *layers.output_size(image_size(x))))
    _check_output(name, gy, y)
    _check_pair(name, x, gy, layers.groups)
    return on(gy).block_parameter_grads(x, gy, y, layers)


def _block_name(layers: Block) -> str:
    return "ConvTranspose2d" if layers.transposed else "Conv2d"


def _block_channels(name: str, weight: Tensor, layers: Block) -> tuple[int, int]:
    """Channels in and out, of a weight that fits."""
    _check_filters(name, weight, layers.groups)
    kernel, plain = layers.window.kernel, layers.window.stride == layers.window.dilation == (1, 1)
    if image_size(weight) != kernel:
        raise ValueError(f"{name}: expected a kernel of {kernel}, the weight is {_shape(weight)}")
    if layers.scale != (1, 1) and (layers.transposed or not plain):
        raise ValueError(
            f"{name}: upsampling by {layers.scale} goes before a convolution of stride 1 and "
            f"dilation 1, got {layers.window}"
        )
    first, second = weight.shape[0], weight.shape[1] * layers.groups
    return (first, second) if layers.transposed else (second, first)


# -- pooling and resampling -----------------------------------------------------------------------


def max_pool2d(
    x: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> tuple[Tensor, Tensor]:
    """The largest value under each window (padding counts as -inf), and its place in the window.

    Of equal values the first, row by row, is taken. Both results are (N, C, Ho, Wo).

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    sliding = _pooling_window("MaxPool2d", x, kernel_size, stride, padding, dilation)
    if sliding.kernel[0] * sliding.kernel[1] > LARGEST:
        raise ValueError(
            f"MaxPool2d: kernel_size {kernel_size} has more than the {LARGEST} places that can be "
            "told apart"
        )
    return on(x).max_pool2d(x, sliding)


def max_pool2d_grad(
    gy: Tensor,
    places: Tensor,
    input_size: Pair,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """dL/dx of `max_pool2d`: gy goes to the place that held the maximum, as `places` tells."""
    _check_gradient("MaxPool2d", gy, tuple(places.shape))
    sliding = window(kernel_size, stride, padding, dilation)
    return on(gy).max_pool2d_grad(gy, places, input_size, sliding)


def avg_pool2d(
    x: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean under each window, of the zeros of the padding too if count_include_pad.

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    sliding = _pooling_window("AvgPool2d", x, kernel_size, stride, padding, 1)
    return on(x).avg_pool2d(x, sliding, count_include_pad)


def avg_pool2d_grad(
    gy: Tensor,
    input_size: Pair,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """dL/dx of `avg_pool2d`: an equal share of gy to every place that counted."""
    sliding = window(kernel_size, stride, padding, 1)
    _check_gradient("AvgPool2d", gy, (*gy.shape[:2], *sliding.output_size(input_size)))
    return on(gy).avg_pool2d_grad(gy, input_size, sliding, count_include_pad)


def upsample_nearest2d(x: Tensor, scale: IntOrPair) -> Tensor:
    """Each pixel repeated: (N, C, H, W) to (N, C, H * scale, W * scale).

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    _check_images("NearestUpsampling", "input", x)
    return on(x).upsample_nearest2d(x, pair("scale_factor", scale, 1))


def upsample_nearest2d_grad(gy: Tensor, input_size: Pair, scale: IntOrPair) -> Tensor:
    """dL/dx of `upsample_nearest2d`: gy summed over the block that repeats each pixel."""
    rows, columns = pair("scale_factor", scale, 1)
    size = (input_size[0] * rows, input_size[1] * columns)
    _check_gradient("NearestUpsampling", gy, (*gy.shape[:2], *size))
    return on(gy).upsample_nearest2d_grad(gy, (rows, columns))


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b of one shape: no broadcasting, which a residual connection never means.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"Residual: the inner module turns {tuple(a.shape)} into {tuple(b.shape)}; "
            "to be added, the shapes must be the same"
        )
    _check_alike("Residual", a, **{"inner module's output": b})
    return on(a).add(a, b)


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    """[a, b] along the channels: (N, C, H, W) and (N, D, H, W) to (N, C + D, H, W).

    Raises:
        ValueError: batch, height or width differ.
    """
    if a.shape[0] != b.shape[0] or a.shape[2:] != b.shape[2:]:
        raise ValueError(
            f"SkipConcat: the inner module turns {tuple(a.shape)} into {tuple(b.shape)}; only the "
            "channels may differ (with strides or pooling inside, pad the image to a multiple)"
        )
    _check_alike("SkipConcat", a, **{"inner module's output": b})
    return on(a).concatenate(a, b)


# -- activations -----------------------------------------------------------------------------------


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0), any shape."""
    _check_float("ReLU", "input", x)
    return on(x).relu(x)


def relu_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx of `relu` = gy where y > 0, else 0."""
    _check_output("ReLU", gy, y)
    return on(gy).relu_grad(gy, y)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else slope * x, any shape; slope >= 0."""
    _check_float("LeakyReLU", "input", x)
    return on(x).leaky_relu(x, slope)


def leaky_relu_grad(gy: Tensor, y: Tensor, slope: float = 0.01) -> Tensor:
    """dL/dx of `leaky_relu` = gy where y > 0, else slope * gy."""
    _check_output("LeakyReLU", gy, y)
    return on(gy).leaky_relu_grad(gy, y, slope)


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + exp(-x)), any shape."""
    _check_float("Sigmoid", "input", x)
    return on(x).sigmoid(x)


def sigmoid_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx of `sigmoid` = gy y (1 - y)."""
    _check_output("Sigmoid", gy, y)
    return on(gy).sigmoid_grad(gy, y)


def tanh(x: Tensor) -> Tensor:
    """y = tanh(x), any shape."""
    _check_float("Tanh", "input", x)
    return on(x).tanh(x)


def tanh_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx of `tanh` = gy (1 - y^2)."""
    _check_output("Tanh", gy, y)
    return on(gy).tanh_grad(gy, y)


# -- batch normalization ---------------------------------------------------------------------------


def channel_statistics(
    x: Tensor, channels: int, running_mean: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of x (N, C, H, W) over N, H and W, both (C,).

    Raises:
        TypeError: x has another dtype than the running mean that the result will be added to.
        ValueError: another number of channels, or a single value a channel, which has no variance.
    """
    _check_batch_norm(x, channels)
    _check_alike("BatchNorm2d", x, **{"running mean": running_mean})
    if x.shape[0] * x.shape[2] * x.shape[3] == 1:
        raise ValueError(
            f"BatchNorm2d: training needs more than one value per channel, got {tuple(x.shape)}; "
            "use a larger batch, or eval()"
        )
    return on(x).channel_statistics(x)


def normalize(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """xhat = (x - mean) * scale, channel by channel; scale = 1 / sqrt(var + eps), (C,).

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    _check_batch_norm(x, mean.shape[0])
    _check_alike("BatchNorm2d", x, mean=mean, scale=scale)
    return on(x).normalize(x, mean, scale)


def normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx of `normalize` when mean and scale are x's own statistics."""
    _check_gradient("BatchNorm2d", gxhat, tuple(xhat.shape))
    return on(gxhat).normalize_grad(gxhat, xhat, scale)


def normalize_fixed_grad(gxhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx of `normalize` when mean and scale are fixed numbers, as in evaluation."""
    return on(gxhat).normalize_fixed_grad(gxhat, scale)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y = weight * x + bias, channel by channel.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    _check_batch_norm(x, weight.shape[0])
    _check_alike("BatchNorm2d", x, weight=weight, bias=bias)
    return on(x).affine(x, weight, bias)


def affine_grad(gy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx, dL/dweight and dL/dbias of `affine`."""
    _check_gradient("BatchNorm2d", gy, tuple(x.shape))
    return on(gy).affine_grad(gy, x, weight)


# -- losses ----------------------------------------------------------------------------------------


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2, a scalar tensor.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("MSE", prediction, target)
    return on(prediction).squared_error(prediction, target)


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """scale times dL/dprediction of `squared_error`, which is 2 (prediction - target)."""
    check_target("MSE", prediction, target)
    return on(prediction).squared_error_grad(prediction, target, scale)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum |prediction - target|, a scalar tensor.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("L1", prediction, target)
    return on(prediction).absolute_error(prediction, target)


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """scale times dL/dprediction of `absolute_error`, which is sign(prediction - target)."""
    check_target("L1", prediction, target)
    return on(prediction).absolute_error_grad(prediction, target, scale)


# -- gradients and optimizers: in place -----------------------------------------------------------


def accumulate(total: Tensor, gradient: Tensor) -> None:
    """total += gradient, of one shape.

    Raises:
        ValueError: the shapes differ.
    """
    if total.shape != gradient.shape:
        raise ValueError(
            f"a parameter of shape {_shape(total)} can't have a gradient of shape "
            f"{_shape(gradient)}"
        )
    _check_alike("accumulate", total, "sum", gradient=gradient)
    on(total).accumulate(total, gradient)
    increment_version(total)


def zero(values: Tensor) -> None:
    """values = 0."""
    on(values).zero(values)
    increment_version(values)


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
    """The step of `chainrule.SGD`; velocity is None without momentum, and set anew if `first`.

    Raises:
        ValueError: the gradient has another shape than the parameter.
    """
    _check_step("SGD", value, gradient=gradient, velocity=velocity)
    settings = (lr, momentum, dampening, weight_decay, nesterov)
    on(value).sgd_step(value, gradient, velocity, first, *settings)
    increment_version(value)


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
    """The step number `steps`, from 1, of `chainrule.Adam`; keep < 1 lets the parameter shrink.

    Raises:
        ValueError: the gradient has another shape than the parameter.
    """
    _check_step("Adam", value, gradient=gradient, mean=mean, square=square)
    settings = (lr, betas, eps, weight_decay, keep, steps)
    on(value).adam_step(value, gradient, mean, square, *settings)
    increment_version(value)


# -- checks ----------------------------------------------------------------------------------------
# The kernels read memory as these say: shape, dtype and device of every tensor, of gradients too.

_GRADIENT = "output's gradient"


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def _check_float(name: str, what: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected the {what} to be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(
            f"{name}: expected the {what} to be of a float dtype, got {x.dtype}; "
            "convert it with .float()"
        )


def _check_images(name: str, what: str, x: Tensor) -> None:
    _check_float(name, what, x)
    if x.dim() != 4:
        hint = "; add the batch dimension with x[None]" if x.dim() == 3 else ""
        raise ValueError(f"{name}: expected the {what} to be (N, C, H, W), got {_shape(x)}{hint}")
    if x.numel() == 0:
        raise ValueError(f"{name}: the {what} is empty, its shape is {_shape(x)}")


def _check_filters(name: str, weight: Tensor, groups: int) -> None:
    _check_images(name, "weight", weight)
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide the channels; the weight is {_shape(weight)}"
        )


def _check_channels(name: str, x: Tensor, channels: int, weight: Tensor) -> None:
    if x.shape[1] != channels:
        raise ValueError(
            f"{name}: expected {channels} input channels (weight is {_shape(weight)}), "
            f"got {x.shape[1]} (input is {_shape(x)})"
        )


def _check_alike(name: str, x: Tensor, which: str = "input", /, **others: Tensor | None) -> None:
    for what, other in others.items():
        if other is None:
            continue
        if other.dtype != x.dtype:
            raise TypeError(
                f"{name}: the {which} is {x.dtype} and the {what} {other.dtype}; "
                "convert one of them with .to(dtype)"
            )
        if other.device != x.device:
            raise ValueError(
                f"{name}: the {which} is on {x.device} and the {what} on {other.device}; "
                "move one of them with .to(device)"
            )


def _check_bias(name: str, bias: Tensor | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"{name}: expected a bias of shape ({channels},), got {_shape(bias)}")


def _check_fits(name: str, x: Tensor, sliding: Window) -> None:
    size = image_size(x)
    if min(sliding.output_size(size)) < 1:
        raise ValueError(
            f"{name}: the window spans {sliding.span} but the padded input is only "
            f"{sliding.padded(size)} (input is {_shape(x)})"
        )


def _transposed_size(name: str, x: Tensor, sliding: Window, output_padding: Pair) -> Pair:
    for added, step, spread in zip(output_padding, sliding.stride, sliding.dilation, strict=True):
        if added >= max(step, spread):
            raise ValueError(
                f"{name}: output_padding {output_padding} must be smaller than the stride "
                f"{sliding.stride} or the dilation {sliding.dilation}"
            )
    size = sliding.transposed_size(image_size(x), output_padding)
    if min(size) < 1:
        raise ValueError(
            f"{name}: the padding leaves an output of {size} (input is {_shape(x)}, the window "
            f"spans {sliding.span})"
        )
    return size


def _pooling_window(
    name: str,
    x: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair,
    dilation: IntOrPair,
) -> Window:
    _check_images(name, "input", x)
    sliding = window(kernel_size, stride, pair("padding", padding, 0), dilation)
    for added, extent in zip(sliding.padding, sliding.kernel, strict=True):
        if added > extent // 2:
            raise ValueError(
                f"{name}: padding {padding} must be at most half of kernel_size {kernel_size}"
            )
    _check_fits(name, x, sliding)
    return sliding


def _check_gradient(name: str, gy: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(gy.shape) != shape:
        raise ValueError(
            f"{name}: expected the output's gradient to have the output's shape {shape}, "
            f"got {_shape(gy)}"
        )


def _check_output(name: str, gy: Tensor, y: Tensor) -> None:
    _check_gradient(name, gy, tuple(y.shape))
    _check_alike(name, gy, _GRADIENT, output=y)


def _check_pair(name: str, x: Tensor, gy: Tensor, groups: int) -> None:
    """What a weight's gradient is made of."""
    _check_alike(name, x, **{_GRADIENT: gy})
    if groups < 1 or x.shape[1] % groups or gy.shape[1] % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide the channels; the input is {_shape(x)}, the "
            f"{_GRADIENT} {_shape(gy)}"
        )


def _check_batch_norm(x: Tensor, channels: int) -> None:
    _check_images("BatchNorm2d", "input", x)
    if x.shape[1] != channels:
        raise ValueError(
            f"BatchNorm2d: expected {channels} channels, got {x.shape[1]} (input is {_shape(x)})"
        )


def check_target(name: str, prediction: Tensor, target: Tensor) -> None:
    """Raise TypeError or ValueError unless a loss can compare the two; `name` is the loss's."""
    _check_float(name, "prediction", prediction)
    _check_float(name, "target", target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: prediction {_shape(prediction)} and target {_shape(target)} "
            "must have the same shape"
        )
    if prediction.numel() == 0:
        raise ValueError(f"{name}: the prediction is empty, its shape is {_shape(prediction)}")
    _check_alike(name, prediction, target=target)


def _check_step(name: str, value: Tensor, **others: Tensor | None) -> None:
    for what, other in others.items():
        if other is not None and other.shape != value.shape:
            raise ValueError(
                f"{name}: a parameter of shape {_shape(value)} has a {what} of {_shape(other)}"
            )
    _check_alike(name, value, "parameter", **others)
