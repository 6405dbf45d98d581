"""Rows → tables, figures, pages.

by_seed     a number per seed and length: curves, gaps
standings   what an arm reached at a budget: exact match, L50, failed seeds
tables      rows → tables
targets     targets that were declared, and whether they are reached
reaches     what arms lose from the longest trained length to the longest tested one
figures     numbers → pictures: curves by length, ladders of budgets, heat maps of weights
scoring     a ladder's rows → its tables and verdicts
positions   rows by position → shares by third, tables
error_rates  error rates of text by arm and budget, and how arms differ
further     tables of the test sets behind the first
capacities  rows of several sizes → critical lengths, laws, tables
least_budgets  rows of several lengths and budgets → the least budget of each length, its laws, tables
frontiers   rows of several cells and state sizes → what is recalled by how much state
factors     critical lengths by source, by bits of a number, and of optimised vectors
corpora     what a corpus holds, and what is wrong with it
report      one self-contained HTML page
citation    the papers of what a config uses, as BibTeX
translations scores of arms at equal updates beside published ones; the price of a loss
aligned     rows of links → tables beside other aligners
aligned_verdict  conditions and verdict of links beside IBM model 1
references  outputs beside references of one's own → rows, tables
decoding    a trained run used from a terminal
"""
