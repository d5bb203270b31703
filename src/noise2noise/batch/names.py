"""Where results go."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from noise2noise.batch.find import RESULT, Source, plain_stem
from noise2noise.errors import UserError
from noise2noise.files import ending, result_name, suffixes

FIELDS = ("stem", "model", "suffix")


@dataclass(frozen=True)
class Names:
    """The place of each result.

    Attributes:
        folder: where all go, in folders as their originals are in; None for beside the original.
        file: the one place, for a single image.
        template: of the name: {stem}, {model}, {suffix}.
        suffix: of all results; "" for those of the originals.
    """

    folder: Path | None
    file: Path | None
    template: str
    suffix: str = ""

    @classmethod
    def of(
        cls,
        output: Path | None,
        template: str | None,
        sources: Sequence[Source],
        suffix: str = "",
    ) -> Names:
        """What people mean.

        Arguments:
            output: a file for a single image, or a folder; None for beside the original.
            template: of names; by default `{stem}{suffix}`, beside the original
                `{stem}_denoised{suffix}`.
            sources: the images.
            suffix: of results; "" for those of the originals.

        Raises:
            UserError: a file for several images, or a name or template that can't be.
        """
        if template is not None:
            _check(template)
        if output is None:
            return cls(None, None, template or f"{{stem}}{RESULT}{{suffix}}", suffix)
        single, writable = len(sources) == 1, ending(output) in suffixes()
        if template or output.is_dir() or not (writable or (single and output.suffix)):
            return cls(output, None, template or "{stem}{suffix}", suffix)
        if not single:
            raise UserError(
                f"{output} is one file, but there are {len(sources)} images; name a folder"
            )
        if not writable:
            raise UserError(
                f"{output} ends in no image format that can be written; end it in one of "
                f"{', '.join(sorted(suffixes()))}, or make a folder of that name first"
            )
        if suffix not in ("", ending(output)):
            raise UserError(f"{output} doesn't end in {suffix}, which --format says; leave one out")
        return cls(None, output, "")

    def place(self, source: Source, model: str) -> Path:
        """Where the result of one image goes.

        Arguments:
            source: the image.
            model: that is used: a name, or a path, of which the last part is taken.
        """
        if self.file is not None:
            return self.file
        path = source.path
        stem = plain_stem(path)
        suffix = self.suffix or result_name(path, path.stem[len(stem) :])  # raw becomes TIFF
        known = {"stem": stem, "suffix": suffix, "model": Path(model).stem}
        name = self.template.format(**known)
        return path.with_name(name) if self.folder is None else self.folder / source.below / name

    def check(self, sources: Sequence[Source], models: Iterable[str]) -> None:
        """Refuse what would replace an input, or two results in one place.

        Arguments:
            sources: the images.
            models: those that may be used.

        Raises:
            UserError: which images.
        """
        inputs = {os.path.realpath(source.path): source.path for source in sources}
        for model in models:
            taken: dict[str, Path] = {}
            for source in sources:
                place = self.place(source, model)
                resolved = os.path.realpath(place)
                if resolved in inputs:
                    raise UserError(
                        f"the result of {source.path} would replace {inputs[resolved]}, which is "
                        "to be denoised; choose another output"
                    )
                if resolved in taken:
                    raise UserError(
                        f"{taken[resolved]} and {source.path} would both be written to {place}; "
                        "denoise them separately"
                    )
                taken[resolved] = source.path


def _check(template: str) -> None:
    """Refuse a template that names no file.

    Raises:
        UserError: a field that isn't known, a folder, or nothing that differs between images.
    """
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UserError(f"the name {template!r} is no template ({error})") from None
    for name in fields:
        if name not in FIELDS:
            raise UserError(
                f"the name {template!r} has {{{name}}}, and only {{stem}}, {{model}} and "
                "{suffix} are known"
            )
    if "stem" not in fields or Path(template).name != template:
        raise UserError(
            f"the name {template!r} must hold {{stem}}, and no folder; --out names that"
        )
