"""Operating characteristics by simulation: error rates of the verdicts, coverage of intervals, bias of L50.

draws       simulated data sets → verdicts on strings and on text, a letter each
coverage    of the typical seed, of losses of text, of L50
page        docs/characteristics.md

Cells are drawn in blocks, each draw from a key of its own (cell and number), so that blocks can be drawn anywhere and in any order; a
block is a row on file, and what is on file is not drawn again.
"""
