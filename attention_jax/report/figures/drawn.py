"""A picture that a notebook shows: IPython asks a value for its PNG. Imports matplotlib, so that others import this when they draw."""

from collections.abc import Callable

from matplotlib.figure import Figure


class Drawn(Figure):
    """A matplotlib `Figure` of no window; notebooks show those of pyplot alone by themselves. `png` renders it."""

    png: Callable[[], bytes]

    def _repr_png_(self) -> bytes:
        """Returns the content of a PNG file."""
        return self.png()
