"""What is answered to what, a file for each part of the page.

- `answering.py`: answers as the browser gets them, and mistakes as sentences.
- `asked.py`: what a request asks for, checked.
- `page.py`: the page itself.
- `files.py`: files that are dropped, and what is shown of them.
- `results.py`: saving, and what was saved.
- `training.py`: training runs.
"""

from starlette.routing import BaseRoute

from noise2noise.web.hall import Hall
from noise2noise.web.routes import files, page, results, training


def all_routes(hall: Hall) -> list[BaseRoute]:
    """Every address there is."""
    found = [*page.routes(hall), *files.routes(hall), *results.routes(hall)]
    return found if hall.runs is None else [*found, *training.routes(hall.runs)]
