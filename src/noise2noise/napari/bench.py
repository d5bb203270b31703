"""Where a widget's work is seen: a bar, a line of words, Cancel; and the thread that does it.

The thread and the window share a `Watch` and nothing else: the thread writes how far it is, and the
window looks a few times a second.
"""

# napari and what comes with it are an extra, which a type checker may not find.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from magicgui.widgets import Container, Label, ProgressBar, PushButton
from napari.qt.threading import FunctionWorker
from qtpy.QtCore import QTimer

from noise2noise.errors import DivergedError, UserError
from noise2noise.napari.work import Stopped, Watch

Result = TypeVar("Result")

LOOKS = 100
"""Milliseconds between two looks at how far the work is."""


class Bench(Container[Any]):
    """A bar, words and Cancel, and one piece of work at a time.

    Arguments:
        buttons: what starts work, which can't be pressed meanwhile.
    """

    def __init__(self, *buttons: Any) -> None:
        self._buttons = buttons
        self.bar = ProgressBar(min=0, max=1000, value=0)
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.words = Label(value="")
        super().__init__(widgets=[self.bar, self.cancel, self.words], labels=False)
        self.words.native.setWordWrap(True)
        self.margins = (0, 0, 0, 0)
        self._worker: Any = None
        self._watch = Watch()
        self._timer = QTimer(self.native)
        self._timer.setInterval(LOOKS)
        self._timer.timeout.connect(self._look)
        self.cancel.changed.connect(self._stop)

    @property
    def is_working(self) -> bool:
        """Whether something is being done."""
        return self._worker is not None

    def start(self, work: Callable[[Watch], Result], done: Callable[[Result], None]) -> None:
        """Do something in a thread of its own.

        Arguments:
            work: is given what to tell its progress to. A mistake of the user's is shown in words.
            done: is called in the window's thread with what came of it.
        """
        watch = self._watch = Watch(closing=lambda: bool(worker.abort_requested))
        worker = self._worker = FunctionWorker(_excused(work, watch))
        worker.returned.connect(lambda found: self._returned(found, done))
        worker.finished.connect(self._finished)
        self._show(True)
        self._timer.start()
        worker.start()

    def say(self, text: str) -> None:
        """Show a line of words."""
        self.words.value = text

    def refuse(self, error: UserError) -> None:
        """Show what is wrong."""
        self.say(_sentence(error))

    def _stop(self) -> None:
        if self._worker is not None:
            self._watch.stopping.set()
            self.say("Stopping ...")

    def _returned(self, found: Any, done: Callable[[Any], None]) -> None:
        self._timer.stop()  # or it would write over what is said now
        if isinstance(found, _Mistake):
            self.say(found.text)
            return
        try:
            done(found)
        except UserError as error:
            self.refuse(error)

    def _finished(self, *_: object) -> None:
        self._worker = None
        self._timer.stop()
        self._show(False)

    def _show(self, working: bool) -> None:
        self.bar.value = 0
        self.cancel.enabled = working
        for button in self._buttons:
            button.enabled = not working

    def _look(self) -> None:
        self.bar.value = round(1000 * self._watch.done)
        if self._watch.words and not self._watch.stop():
            self.say(self._watch.words)


def _excused(work: Callable[[Watch], Result], watch: Watch) -> Callable[[], Any]:
    """The work, with what people can mend as a result; of what is raised, a traceback is shown."""

    def excused() -> Any:
        try:
            return work(watch)
        except Stopped:
            return _Mistake("Stopped.")
        except (UserError, DivergedError) as error:
            return _Mistake(_sentence(error))

    return excused


class _Mistake(NamedTuple):
    """What a worker returns in the place of a result; an exception would be raised again."""

    text: str


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."
