"""What a page has that its notebook has not: ids and anchors, numbers of figures and tables, contents."""

from bs4 import BeautifulSoup, Tag

from bnlib.page.words import slug

KINDS = {"picture": "Figure", "table": "Table"}


def name_headings(soup: BeautifulSoup) -> None:
    """Gives each heading an id, and a link to itself; `soup` has contents already, or none."""
    taken = {tag["id"] for tag in soup.find_all(id=True)}
    for heading in soup.main.find_all(["h2", "h3"]):
        heading["id"] = slug(heading.get_text(), taken)
        taken.add(heading["id"])
        link = {"class": "anchor", "href": f"#{heading['id']}", "aria-label": "Link to this section"}
        heading.append(soup.new_tag("a", attrs=link))  # its sign is the style sheet's: it is none of the heading's words


def number(soup: BeautifulSoup, files: str) -> None:
    """Numbers figures and tables in their order; a link to one whose text is `Figure` or `Table` gets the number, too.

    Args:
        files: where a figure's file lies: `figures/index-{name}.svg`.
    """
    counts, names = dict.fromkeys(KINDS.values(), 0), {}
    for figure in soup.find_all("figure"):
        kind = next((KINDS[c] for c in figure.get("class", []) if c in KINDS), None)
        caption = figure.find("figcaption")
        if not kind or not caption:
            continue
        counts[kind] += 1
        called = names[f"#{figure['id']}"] = f"{kind} {counts[kind]}"
        label, itself = soup.new_tag("b"), soup.new_tag("a", attrs={"class": "itself", "href": f"#{figure['id']}"})
        label.string = f"{called}."
        itself.append(label)
        caption.insert(0, itself, " ")
        if kind == "Figure":
            where = {"class": "large", "href": files.format(name=figure["id"].removeprefix("fig-"))}
            large = soup.new_tag("a", attrs=where | {"aria-label": f"Open large: {called}, an SVG file"})
            large.string = "Open large"
            caption.extend([" ", large])
    for link in soup.find_all("a", href=names.get):
        if link.get_text() in KINDS.values():
            link.string = names[link["href"]]


def add_contents(soup: BeautifulSoup) -> None:
    """Fills the contents with the headings; a page without any has no contents."""
    nav, headings = soup.find("nav", class_="contents"), soup.main.find_all(["h2", "h3"])
    if not headings:
        nav.decompose()
        return
    outer = soup.new_tag("ol")
    for heading in headings:
        if heading.name == "h2" or not outer.contents:
            outer.append(_entry(soup, heading))
        else:
            last = outer.contents[-1]
            (last.find("ol") or last.append(soup.new_tag("ol")) or last.find("ol")).append(_entry(soup, heading))
    nav.details.append(outer)


def _entry(soup: BeautifulSoup, heading: Tag) -> Tag:
    entry, link = soup.new_tag("li"), soup.new_tag("a", href=f"#{heading['id']}")
    link.string = heading.get_text()
    entry.append(link)
    return entry


def place_byline(soup: BeautifulSoup) -> None:
    """Puts the line that says what the page is under its title."""
    byline, title = soup.main.find(class_="byline"), soup.main.find("h1")
    if byline and title:
        title.insert_after(byline.extract())
