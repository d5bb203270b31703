"""How far a result can be trusted, told from the noisy image alone: docs/single.md#confidence.

- `examine.py`: figures of one image: an estimate of the PSNR, whether what was removed looks like
  noise.
- `words.py`: what they mean, in a sentence.
- `pictures.py`: what is shown of it.
- `page.py`: one self-contained HTML file of several images.
"""

from noise2noise.report.examine import Examination, examine
from noise2noise.report.page import Entry, write_page
from noise2noise.report.pictures import removed

__all__ = ["Entry", "Examination", "examine", "removed", "write_page"]
