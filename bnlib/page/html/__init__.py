"""An executed notebook becomes one HTML file without scripts or requests."""

from bnlib.page.html.links import check
from bnlib.page.html.page import About, Page, pictures, render

__all__ = ["About", "Page", "check", "pictures", "render"]
