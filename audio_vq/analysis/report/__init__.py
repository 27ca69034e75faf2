"""Pages and figures.

Matplotlib fails at its first import where MPLBACKEND names a backend that is not installed, as notebooks leave it to
the commands they start. We draw on no screen: for that import there is no such variable.
"""

import os

_named = os.environ.pop("MPLBACKEND", None)
import matplotlib as mpl  # noqa: E402, F401

if _named is not None:
    os.environ["MPLBACKEND"] = _named
