"""Image files in and out: what came in - dtype, range, shape, axes, metadata - comes out again.

| in the file                         | in memory                                               |
|-------------------------------------|---------------------------------------------------------|
| grey of 1 to 8 bits                 | uint8                                                   |
| palette                             | uint8 colour, and alpha if the palette has it           |
| colour, 8 bits                      | uint8                                                   |
| 16 bits                             | uint16                                                  |
| float TIFF                          | as it is                                                |
| transparency                        | the last sample of a pixel                              |
| pages, planes and frames            | planes of a stack                                       |
| white-is-zero TIFF                  | black is zero                                           |
| several pictures in a camera's JPEG | the first; the others are previews or depth maps        |

`open_stack` and `write_stack` stream: plane by plane, band by band. `read_image` and `write_image`
hold one picture in memory. A format is a file of this folder, a test, and a line in `formats.py`.

Pixels stay as they are stored and the EXIF orientation is kept, so that viewers turn the picture
as they did before.
"""

from noise2noise.files.axes import Axes, named, samples_at, usual
from noise2noise.files.colour import in_colour
from noise2noise.files.convert import Wanted
from noise2noise.files.format import Format
from noise2noise.files.formats import (
    ending,
    format_for,
    is_image_folder,
    list_images,
    open_stack,
    refuse_existing,
    result_name,
    result_of,
    suffix_named,
    suffix_of,
    suffixes,
    write_stack,
)
from noise2noise.files.guard import UnusableError
from noise2noise.files.image import Image, from_unit, read_image, to_unit, write_image
from noise2noise.files.part import Part
from noise2noise.files.scale import Scale
from noise2noise.files.stack import (
    STREAMED,
    ArrayStack,
    Channel,
    Colour,
    Header,
    Held,
    Metadata,
    Stack,
    Step,
    array_stack,
    bands_of,
    colour_of,
    stack_of,
    whole_planes,
)
from noise2noise.files.survey import BAND, Look, Survey, look, scale_of, share_of, survey, together

__all__ = [
    "BAND",
    "STREAMED",
    "ArrayStack",
    "Axes",
    "Channel",
    "Colour",
    "Format",
    "Header",
    "Held",
    "Image",
    "Look",
    "Metadata",
    "Part",
    "Scale",
    "Stack",
    "Step",
    "Survey",
    "UnusableError",
    "Wanted",
    "array_stack",
    "bands_of",
    "colour_of",
    "ending",
    "format_for",
    "from_unit",
    "in_colour",
    "is_image_folder",
    "list_images",
    "look",
    "named",
    "open_stack",
    "read_image",
    "refuse_existing",
    "result_name",
    "result_of",
    "samples_at",
    "scale_of",
    "share_of",
    "stack_of",
    "suffix_named",
    "suffix_of",
    "suffixes",
    "survey",
    "to_unit",
    "together",
    "usual",
    "whole_planes",
    "write_image",
    "write_stack",
]
