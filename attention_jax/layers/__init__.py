"""Layers: the parts of encoders, mechanisms and decoders.

keys          named streams of random numbers
masks         which positions are real; padding may stand anywhere
activations   tanh and σ that CPUs vectorise everywhere
affine        y = x W + b
predictions   logits, the arg max, the nll of a token; chunk by chunk
dropout       per example, whatever the padding
loop_body     a loop's body, traced to a jaxpr and grouped into operations
deferred      a scan whose weight gradients are formed after the loop
precision     float32, TF32 or bfloat16 for every product of a model
recurrence    a cell scanned over time
cells         RNN, LSTM, GRU and linear recurrences
transition    several cells between two positions
"""
