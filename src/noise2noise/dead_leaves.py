"""Generated pictures with the statistics of photographs, for training without any photograph.

The model is dead leaves: flat shapes of every size fall on the ground one after another, and what
is seen from above is a picture. Shapes whose radius has a density of r^-3 look alike at every
scale, as photographs do, and hiding one another makes the edges that a denoiser must keep (A. Lee,
D. Mumford, J. Huang, "Occlusion models for natural images", IJCV 41, 2001).

To the flat discs of the paper this adds what a denoiser meets in photographs: ellipses, boxes and
triangles bent a little, few base colours per picture, shading across a shape, grain and stripes,
a little lens blur, and a tone curve.
"""

from dataclasses import dataclass

import numpy as np

SAMPLES = 2  # per pixel and direction: shapes are drawn larger and averaged, which softens edges
MARGIN = 6  # pixels around the picture, cut off at the end, so that the blur never meets a border
LAYERS = 5.0  # how often shapes cover the ground: exp(-5) of it, 0.7%, still shows the background
ELLIPSE, BOX, TRIANGLE = range(3)


@dataclass(frozen=True)
class _Leaves:
    """N shapes, lowest first, in canvas samples; number 0 is the ground itself, without a shape."""

    centre: np.ndarray  # (N, 2): x, y
    radius: np.ndarray  # (N,)
    to_shape: np.ndarray  # (N, 2, 2): takes (x, y) - centre to the frame where the shape has size 1
    bend: np.ndarray  # (N,): the frame's first axis leans by bend * second ** 2
    kind: np.ndarray  # (N,): ELLIPSE, BOX, or TRIANGLE (the half of a box below its diagonal)
    box: np.ndarray  # (N, 4): the part of the canvas it may touch, x, y, width, height


def dead_leaves(size: int, rng: np.random.Generator, channels: int = 3) -> np.ndarray:
    """One picture of opaque leaves, float32 (channels, size, size) in [0, 1].

    Arguments:
        size: side in pixels, at least 1.
        rng: the only source of randomness; the same state gives the same picture.
        channels: 3 for colour, 1 for grey.

    Raises:
        ValueError: `size` or `channels` is none of these.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    side = SAMPLES * (size + 2 * MARGIN)
    leaves = _fall(side, rng)
    picture = _paint(_seen_from_above(leaves, side), leaves, channels, rng)
    picture = _average(picture, SAMPLES)
    picture = _blur(picture, sigma=min(0.2 + rng.exponential(0.35), 2.0))
    return _tone(picture[:, MARGIN:-MARGIN, MARGIN:-MARGIN], rng)


def _fall(side: int, rng: np.random.Generator) -> _Leaves:
    smallest = SAMPLES * np.exp(rng.uniform(np.log(1.0), np.log(5.0)))
    largest = max(0.6 * side, 2 * smallest)
    count = 1 + int(LAYERS * side**2 / smallest**2)  # more than will be kept
    # A leaf may fall as far as its radius outside; the larger it is, the more places it has there.
    grid = np.geomspace(smallest, largest, 256)
    share = np.cumsum(grid**-3 * (side + 2 * grid) ** 2 * np.gradient(grid))
    radius = np.interp(rng.random(count) * share[-1], share, grid)
    radius[0] = side  # the ground
    centre = rng.uniform(-radius, side + radius, (2, count)).T
    elongation = np.exp(rng.normal(0, 0.6, count))
    bend = rng.normal(0, 0.25, count).clip(-0.5, 0.5)
    kind = rng.choice(3, count, p=(0.5, 0.3, 0.2))

    angle = rng.uniform(0, 2 * np.pi, count)
    along, across = radius * np.sqrt(elongation), radius / np.sqrt(elongation)
    cosine, sine = np.cos(angle), np.sin(angle)
    to_shape = np.stack([cosine / along, sine / along, -sine / across, cosine / across], -1)

    # In its own frame a shape lies within |u| <= 1 + |bend| and |v| <= 1.
    u, v = along * (1 + np.abs(bend)), across
    reach = np.stack(
        [u * np.abs(cosine) + v * np.abs(sine), u * np.abs(sine) + v * np.abs(cosine)], -1
    )
    first = np.floor(centre - reach).clip(0, side).astype(np.int64)
    last = np.ceil(centre + reach).clip(0, side).astype(np.int64)
    box = np.concatenate([first, last - first], -1)
    box[0] = 0
    covered = np.cumsum(0.6 * box[:, 2] * box[:, 3])  # a turned shape fills about 0.6 of its box
    kept = 2 + int(np.searchsorted(covered, LAYERS * side**2))
    return _Leaves(
        centre[:kept].astype(np.float32),
        radius[:kept].astype(np.float32),
        to_shape[:kept].astype(np.float32).reshape(-1, 2, 2),
        bend[:kept].astype(np.float32),
        kind[:kept],
        box[:kept],
    )


def _seen_from_above(leaves: _Leaves, side: int) -> np.ndarray:
    """(side, side): the number of the uppermost leaf over each sample.

    All leaves at once: one long list of (leaf, sample of its box), lowest leaf first, is thinned to
    the samples inside the shape and written to the canvas in order, so the uppermost stays.
    """
    x0, y0, width, height = leaves.box.T
    area = width * height

    def spread(values: np.ndarray) -> np.ndarray:  # from one per leaf to one per listed sample
        return np.repeat(values, area)

    number = np.arange(area.sum()) - spread(np.cumsum(area) - area)
    row, column = np.divmod(number, spread(width))
    row += spread(y0)
    column += spread(x0)

    dx = column.astype(np.float32) - spread(leaves.centre[:, 0])
    dy = row.astype(np.float32) - spread(leaves.centre[:, 1])
    v = spread(leaves.to_shape[:, 1, 0]) * dx + spread(leaves.to_shape[:, 1, 1]) * dy
    u = spread(leaves.to_shape[:, 0, 0]) * dx + spread(leaves.to_shape[:, 0, 1]) * dy
    u += spread(leaves.bend) * v**2
    kind = spread(leaves.kind)
    distance = np.where(kind == ELLIPSE, u**2 + v**2, np.maximum(np.abs(u), np.abs(v)))
    inside = (distance <= 1) & ((kind != TRIANGLE) | (u + v <= 0))

    leaf = spread(np.arange(len(area)))
    owner = np.zeros(side * side, np.int64)
    owner[(row * side + column)[inside]] = leaf[inside]
    return owner.reshape(side, side)


def _paint(
    owner: np.ndarray, leaves: _Leaves, channels: int, rng: np.random.Generator
) -> np.ndarray:
    """(channels, side, side): each leaf in its colour, shaded, with grain and stripes."""
    side = len(owner)
    count = len(leaves.radius)
    y, x = np.mgrid[:side, :side].astype(np.float32)

    # Shading: a slope across the leaf; the larger the leaf the gentler.
    slope = rng.normal(0, 0.08, (count, 2)) / np.maximum(leaves.radius, 8.0)[:, None]
    slope = slope.astype(np.float32)
    light = slope[owner, 0] * (x - leaves.centre[owner, 0])
    light += slope[owner, 1] * (y - leaves.centre[owner, 1])

    # Grain: each leaf looks at another part of one field of noise, through its own contrast.
    grain = _rough_field(side, rng)
    shift = rng.integers(0, side, (count, 2))
    strength = rng.exponential(0.07, count) * (rng.random(count) < 0.75)
    seen = grain[
        (y.astype(np.int64) + shift[owner, 0]) % side, (x.astype(np.int64) + shift[owner, 1]) % side
    ]
    light += strength.astype(np.float32)[owner] * seen

    # Stripes, on few leaves: wavelengths of 3 to 20 pixels.
    wavelength = SAMPLES * np.exp(rng.uniform(np.log(3), np.log(20), count))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, count))
    wave = 2 * np.pi / wavelength * np.array([np.cos(angle), np.sin(angle)])
    strength = rng.exponential(0.06, count) * (rng.random(count) < 0.15)
    wave, phase, strength = (a.astype(np.float32) for a in (wave, phase, strength))
    light += strength[owner] * np.sin(wave[0][owner] * x + wave[1][owner] * y + phase[owner])

    return _colours(count, channels, rng).T[:, owner] + light


def _colours(count: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """(count, channels): variations on a handful of base colours, which are mostly greyish."""
    bases = int(rng.integers(3, 10))
    base = rng.integers(0, bases, count)
    light = rng.uniform(0, 1, bases)[base] + rng.normal(0, 0.08, count)
    if channels == 1:
        return light[:, None].astype(np.float32)
    # Along (red - light, blue - light): most colours of photographs lie between warm and cool.
    warm = rng.normal(0.01, 0.05) + rng.normal(0, rng.uniform(0.02, 0.18), bases)[base]
    warm += rng.normal(0, 0.015, count)
    pink = rng.normal(-0.005, 0.01) + rng.normal(0, rng.uniform(0, 0.05), bases)[base]
    red, blue = pink + 0.7 * warm, pink - 0.7 * warm
    return np.stack(
        [light + 1.402 * red, light - 0.344 * blue - 0.714 * red, light + 1.772 * blue], -1
    ).astype(np.float32)


def _rough_field(side: int, rng: np.random.Generator) -> np.ndarray:
    """(side, side), mean 0, variance 1: noise of amplitude 1 / f^b, periodic in both directions."""
    y = np.fft.fftfreq(side)[:, None]
    x = np.fft.rfftfreq(side)
    frequency = np.hypot(x, y)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * frequency ** -rng.uniform(0.4, 1.3)
    field = np.fft.irfft2(spectrum, (side, side))
    return (field / field.std()).astype(np.float32)


def _average(picture: np.ndarray, block: int) -> np.ndarray:
    channels, height, width = picture.shape
    blocks = picture.reshape(channels, height // block, block, width // block, block)
    return blocks.mean((2, 4))


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; wrong within MARGIN pixels of the border, which is cut off."""
    offsets = np.arange(-MARGIN + 1, MARGIN)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        moved = np.stack([np.roll(picture, offset, axis) for offset in offsets])
        picture = np.tensordot(weights, moved, 1)
    return picture


def _tone(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast, brightness and gamma of one camera; highlights and shadows may clip."""
    contrast = rng.uniform(0.35, 1.05)
    brightness = rng.uniform(0.35, 0.65)
    gamma = np.exp(rng.uniform(np.log(0.8), np.log(1.7)))
    picture = (contrast * (picture - 0.5) + brightness).clip(0, 1)
    return (picture**gamma).astype(np.float32)
