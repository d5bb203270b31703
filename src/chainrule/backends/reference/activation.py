"""Activations, from the formulas of `chainrule.backends.block.ACTIVATIONS`."""

from torch import Tensor

from chainrule.backends.block import ACTIVATIONS, Epilogue


def activation(x: Tensor, epilogue: Epilogue) -> Tensor:
    """y = f(x), elementwise."""
    return ACTIVATIONS[epilogue.activation].forward(x, epilogue.slope)


def activation_grad(gy: Tensor, y: Tensor, epilogue: Epilogue) -> Tensor:
    """dL/dx from y = f(x)."""
    return ACTIVATIONS[epilogue.activation].gradient(gy, y, epilogue.slope)
