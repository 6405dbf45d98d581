"""Adapters between this package and other people's models.

linen         every cell, encoder and mechanism as a Flax Linen module
interchange   weights from PyTorch and Flax
foreign       other people's attention as a row of the table of mechanisms
"""
