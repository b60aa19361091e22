"""What notebooks may bring to a page, and what not: it asks for nothing, sends nothing and stays where it is."""

from bs4 import BeautifulSoup

REFUSED = ("base", "form", "meta")


def refuse(soup: BeautifulSoup) -> None:
    """Holds what cells and outputs brought against what a page may have.

    Raises:
        ValueError: one of them has an element that is refused.
    """
    if found := soup.main.find(REFUSED):
        raise ValueError(f"a cell or an output brings <{found.name}>, which no page may have: {str(found)[:80]}")


def leave_out_images(soup: BeautifulSoup) -> None:
    """Says in the place of an image that would have to be fetched that it was left out."""
    for image in soup.main.find_all("img", src=True):
        if not image["src"].startswith("data:"):
            told = soup.new_tag("span", attrs={"class": "left-out"})
            named = f" “{image['alt']}”" if image.get("alt") else ""
            told.string = f"[The image{named} at {image['src']} was left out: this page fetches nothing.]"
            image.replace_with(told)
