"""The same for other people's models.

linen         every cell, encoder and mechanism as a Flax module
interchange   weights from PyTorch and Flax
foreign       other people's attention, as a row of ours
"""
