"""A picture as a reader sees it."""

import xml.etree.ElementTree as ElementTree

from attention_jax.report import figures

SVG = "{http://www.w3.org/2000/svg}"


def words(figure) -> list[str]:
    """All text of the SVG, and proof that it is one well-formed element."""
    root = ElementTree.fromstring(figures.svg_text(figure))
    assert root.tag == f"{SVG}svg"
    return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
