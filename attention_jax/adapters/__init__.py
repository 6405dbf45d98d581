"""Adapters between this package and other people's models.

linen               every cell, encoder and mechanism as a Flax Linen module
nnx_modules         encoders and mechanisms as Flax NNX modules
interchange         weights of recurrent networks from PyTorch and Flax
attention_weights   weights of attention from Keras and from PyTorch's tutorial
foreign             other people's attention as a row of the table of mechanisms
"""
