"""Who computes. A backend is a module (or an object) with functions named as the ops.

`reference` lists the ops and has them all, `native` has those with compiled kernels, `record` tells
what was computed. `table` finds the backend of a device and a dtype; `settings` is below them all.
"""

from chainrule.backends.settings import winograd
from chainrule.backends.table import backend, empty_cache, on, register, use_backend

__all__ = ["backend", "empty_cache", "on", "register", "use_backend", "winograd"]
