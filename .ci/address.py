#!/usr/bin/env python3
"""`.ci/address.py https://github.com/OWNER/NAME v0.2.0` goes before a release's packages.

Links of README.md that lead to files beside it lead nowhere from an index's page. They become links
to the files of that version, and pyproject.toml gets the project's addresses. Both files change.
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^()\s]+)\)")


def absolute(text: str, repository: str, version: str) -> str:
    """The Markdown `text` with the addresses of files; pictures' are those of their bytes."""
    return LINK.sub(
        lambda link: (
            f"{link[1]}[{link[2]}]({repository}/{'raw' if link[1] else 'blob'}/{version}/{link[3]})"
        ),
        text,
    )


def addressed(project: str, repository: str, version: str) -> str:
    """pyproject.toml with the project's addresses, which an index shows beside the page."""
    urls = {
        "Source": repository,
        "Documentation": f"{repository}/tree/{version}/docs",
        "Changelog": f"{repository}/blob/{version}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    lines = "".join(f'{name} = "{url}"\n' for name, url in urls.items())
    return project.replace(
        "[project.optional-dependencies]",
        f"[project.urls]\n{lines}\n[project.optional-dependencies]",
    )


def main() -> None:
    repository, version = sys.argv[1:]
    for name, change in (("README.md", absolute), ("pyproject.toml", addressed)):
        path = Path(__file__).resolve().parents[1] / name
        path.write_text(change(path.read_text("utf-8"), repository, version), "utf-8")


if __name__ == "__main__":
    main()
