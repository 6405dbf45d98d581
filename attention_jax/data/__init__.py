"""Data: synthetic tasks and parallel corpora as batches.

tasks       synthetic data from a key, one task a file
corpora     real text, one TFDS builder a file; vocabularies, buckets
aligners    IBM model 1 and an HMM: links between the words of a corpus
inspection  what a corpus holds, before anything is trained on it
sources     a task or a corpus → batches for training, validation and test
"""
