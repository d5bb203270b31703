"""What colours are where no profile says so: the numbers of ITU-T H.273, which AVIF, HEIF, PNG and
JPEG XL take from video ("coding-independent code points")."""

from __future__ import annotations

Cicp = tuple[int, int]
"""Of the primaries, and of the curve ("transfer characteristics")."""

_PRIMARIES = (0, 1, 2)  # those of sRGB, or none said
_CURVES = (0, 1, 2, 6, 13, 14, 15)  # sRGB's, or television's, which viewers show alike


def beyond_srgb(colours: Cicp | None) -> Cicp | None:
    """The same, or None for what a picture is taken for that says nothing."""
    if colours is None or (colours[0] in _PRIMARIES and colours[1] in _CURVES):
        return None
    return colours
