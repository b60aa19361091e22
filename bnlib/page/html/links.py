"""Links lead somewhere: within a page, and among the pages of a report and the files beside them."""

import re
from collections.abc import Collection, Mapping
from html import unescape
from urllib.parse import unquote

from bs4 import BeautifulSoup

PLACE = re.compile(r'<[a-z][^<>]*\sid="([^"]*)"')
LINK = re.compile(r'<a\s(?:[^<>]*\s)?href="([^"]*)"')


def check_within(soup: BeautifulSoup) -> None:
    """Holds a page's links to itself against its places.

    Raises:
        ValueError: a link points to a place that the page lacks, or two places share an id.
    """
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise ValueError(f"the page uses an id twice: {', '.join(sorted(twice))}")
    for link in soup.find_all("a", href=re.compile("^#")):
        if unquote(link["href"][1:]) not in ids:
            raise ValueError(f"the page links to {link['href']}, which it lacks")


def check(pages: Mapping[str, str], beside: Collection[str]) -> None:
    """Holds the links from page to page against what a report has; those out of its folder are not looked at.

    Args:
        pages: HTML by address.
        beside: addresses of the other files of the report.

    Raises:
        ValueError: a link leads to a page, a place on one, or a file, that there is not.
    """
    places = {address: {unescape(name) for name in PLACE.findall(html)} for address, html in pages.items()}
    for page, html in pages.items():
        for link in map(unescape, LINK.findall(html)):
            address, _, place = map(unquote, link.partition("#"))
            if not address or ":" in address or address.startswith(".."):
                continue
            if address not in places and address not in beside:
                raise ValueError(f"{page} links to {address}, which this report lacks")
            if place and place not in places.get(address, ()):
                raise ValueError(f"{page} links to {link}, a place that {address} lacks")
