"""Operating characteristics: how often the public verdict is right under planted truths, how often intervals cover, how far L50 is off.

draws       data sets under planted truths through the verdict on strings and the one on text; a letter each
coverage    of the typical seed, of losses of text, of L50
page        docs/characteristics.md

Cells are drawn in blocks, each draw from a key of its own (cell and number), so that blocks can be drawn anywhere and in any order; a
block is a row on file, and what is on file is not drawn again.
"""
