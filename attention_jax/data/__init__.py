"""What a model is trained and tested on.

tasks       synthetic data from a key, one task a file
corpora     real text, one TFDS builder a file; subwords, buckets
sources     either as batches for training, validation and test
"""
