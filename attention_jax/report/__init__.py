"""Rows as people read them.

by_seed     a number per seed and length: curves, gaps
standings   what an arm reached at a budget: exact match, L50, failed seeds
tables      rows → tables
figures     numbers → pictures: curves by length, ladders of budgets, looks
scoring     a ladder's rows → its tables and verdicts
report      one self-contained HTML page
"""
