"""Reads a page or a chart as XML: what does not parse is a broken page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers.expat import ParserCreate


@dataclass
class Element:
    """A tag with its attributes, and what is in it: elements and texts in order."""

    tag: str
    attributes: dict[str, str]
    content: list[Element | str] = field(default_factory=list)

    def all(self, *tags: str) -> Iterator[Element]:
        """Yield the elements of these tags below this one, in order of the document; no tag: every element."""
        for child in self.content:
            if isinstance(child, Element):
                if not tags or child.tag in tags:
                    yield child
                yield from child.all(*tags)

    def one(self, tag: str) -> Element:
        """Return the only element of a tag."""
        (found,) = self.all(tag)
        return found

    def of_class(self, name: str) -> list[Element]:
        """Return the elements below this one with a class."""
        return [one for one in self.all() if name in one.attributes.get("class", "").split()]

    def text(self, *, without: tuple[str, ...] = ()) -> str:
        """Return the text in this element, leaving out elements of some tags."""
        parts = []
        for child in self.content:
            if isinstance(child, str):
                parts.append(child)
            elif child.tag not in without:
                parts.append(child.text(without=without))
            else:
                parts.append(" ")
        return "".join(parts)


def parse(text: str) -> Element:
    """Return the root element. Raises: expat's error if the text is not well-formed."""
    stack = [Element("", {})]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes)
        stack[-1].content.append(element)
        stack.append(element)

    parser = ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.CharacterDataHandler = lambda data: stack[-1].content.append(data)
    parser.Parse(text, True)
    (root,) = (child for child in stack[0].content if isinstance(child, Element))
    return root
