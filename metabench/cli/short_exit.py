"""A short end of the process: Python's last search for cycles is spared.

After torch, it walks 4 * 10^5 objects of 3,000 modules twice, for a second after the last line, and
frees what the system frees anyway. Files are flushed, other exit functions run and exit codes stay.
"""

from __future__ import annotations

import atexit
import gc


def exit_shortly() -> None:
    """Leave all objects out of the search for cycles when the process ends; call it first."""
    atexit.unregister(_spare)
    atexit.register(_spare)  # what is registered first runs last


def _spare() -> None:
    gc.disable()
    gc.freeze()
