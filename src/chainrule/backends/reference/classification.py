"""Cross-entropies and their gradients: docs/gradients.md#classification."""

from torch import Tensor


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """-(1 - s) w_t log p_t - s/C sum_c w_c log p_c; log p; and w_t, 0 where it is ignored."""
    dim = _classes_dim(logits)
    logs = _log_softmax(logits, dim)
    keep = target != ignore_index
    place = target.where(keep, 0).long()
    share = logits.new_ones(target.shape) if weight is None else weight.take(place)
    share = share.where(keep, 0)
    values = logs.gather(dim, place.unsqueeze(dim)).squeeze(dim)
    values = (values * share).where(keep, 0) * (smoothing - 1)
    if smoothing:
        spread = _weighted(logs, weight, dim).mean(dim)
        values -= smoothing * spread.where(keep, 0)
    return values, logs, share


def cross_entropy_grad(
    logs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    share: Tensor,
    ignore_index: int,
    smoothing: float,
    scale: float | Tensor,
) -> Tensor:
    """scale (Q p_c - q_c), q the weighted target, (1 - s) w_t at t and s/C w_c besides; Q its sum.

    Both are 0 where the target is ignored.
    """
    dim = _classes_dim(logs)
    keep = target != ignore_index
    place = target.where(keep, 0).long().unsqueeze(dim)
    hit = (share * ((1 - smoothing) * scale)).unsqueeze(dim)
    gradient = logs.exp()
    if smoothing:
        count = logs.shape[dim]
        even = (keep * scale).to(logs.dtype).unsqueeze(dim) * (smoothing / count)
        weights = _across(weight, logs, dim)
        total = count if weight is None else weight.sum()
        gradient = gradient.mul_(hit + even * total).sub_(even * weights)
    else:
        gradient.mul_(hit)
    return gradient.scatter_add_(dim, place, -hit)


def soft_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    """-sum_c q_c log p_c, q_c = w_c ((1 - s) t_c + s/C); and log p."""
    dim = _classes_dim(logits)
    logs = _log_softmax(logits, dim)
    return -(_soft(target, weight, smoothing, dim) * logs).sum(dim), logs


def soft_cross_entropy_grad(
    logs: Tensor, target: Tensor, weight: Tensor | None, smoothing: float, scale: float | Tensor
) -> Tensor:
    """scale (Q p_c - q_c), Q = sum_c q_c."""
    dim = _classes_dim(logs)
    q = _soft(target, weight, smoothing, dim)
    gradient = logs.exp().mul_(q.sum(dim, keepdim=True)).sub_(q)
    each = scale.unsqueeze(dim) if isinstance(scale, Tensor) and scale.dim() else scale
    return gradient.mul_(each)


def binary_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None
) -> Tensor:
    """w ((1 - t) x + (1 - t + v t) log(1 + exp(-x))), the logarithm written without overflow."""
    softplus = (-logits.abs()).exp().log1p() + (-logits).clamp(min=0)
    values = (1 - target) * logits + _both(target, pos_weight) * softplus
    return values if weight is None else values * weight


def binary_cross_entropy_grad(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    scale: float | Tensor,
) -> Tensor:
    """scale w ((1 - t) - (1 - t + v t) sigma(-x))."""
    gradient = (1 - target) - _both(target, pos_weight) * (-logits).sigmoid()
    return gradient.mul_(scale if weight is None else weight * scale)


def _classes_dim(logits: Tensor) -> int:
    return 1 if logits.dim() > 1 else 0


def _log_softmax(x: Tensor, dim: int) -> Tensor:
    """x - log sum exp(x)."""
    shifted = x - x.amax(dim, keepdim=True)
    return shifted.sub_(shifted.exp().sum(dim, keepdim=True).log_())


def _across(weight: Tensor | None, x: Tensor, dim: int) -> float | Tensor:
    """The classes' weights as they stand beside x."""
    if weight is None:
        return 1.0
    return weight.reshape(-1, *[1] * (x.dim() - 1 - dim))


def _weighted(logs: Tensor, weight: Tensor | None, dim: int) -> Tensor:
    return logs if weight is None else logs * _across(weight, logs, dim)


def _soft(target: Tensor, weight: Tensor | None, smoothing: float, dim: int) -> Tensor:
    """q_c = w_c ((1 - s) t_c + s/C)."""
    if smoothing:
        target = target * (1 - smoothing) + smoothing / target.shape[dim]
    return _weighted(target, weight, dim)


def _both(target: Tensor, pos_weight: Tensor | None) -> float | Tensor:
    """1 - t + v t."""
    return 1.0 if pos_weight is None else 1 + (pos_weight - 1) * target
