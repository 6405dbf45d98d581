"""Floating-point operations by formula: a multiplication and an addition of a product count 2, all else is left out.

A backward pass takes two products, one for each operand's gradient, for every product of the forward pass: 3 × forward in all. The
gradient of what nothing is differentiated for (token ids) is no product, and embeddings are lookups.
"""

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
"""Gates of a cell: blocks of H columns in its affines."""


def product(rows: int, inner: int, columns: int) -> int:
    """Returns 2 m k n, the operations of a matrix m×k times a matrix k×n."""
    return 2 * rows * inner * columns


def moved(rows: int, inner: int, columns: int) -> int:
    """Returns the least bytes that a float32 product reads and writes: 4 (m k + k n + m n)."""
    return 4 * (rows * inner + inner * columns + rows * columns)


def moved_layer(cell: str, B: int, T: int, D: int, H: int) -> int:
    """Returns the bytes of a forward pass: the inputs' product at once, and T products of the state, each reading the recurrent weights."""
    G = GATES[cell]
    return moved(B * T, D, G * H) + T * moved(B, H, G * H)


def layer(cell: str, B: int, T: int, D: int, H: int) -> int:
    """Returns the operations of a forward pass, [x; h] (D + H) onto G gates of H:   2 B T (D + H) G H."""
    return product(B * T, D + H, GATES[cell] * H)


def encoder_decoder(V: int, E: int, H: int, B: int, S: int, T: int) -> int:
    """Returns the operations of a forward pass: bidirectional GRU, additive attention (A = H, M = 2H), GRU with input feeding (R = H):

    2 directions · layer(E → H)   +   bridge M → H   +   keys S: M → A
    +   T · ( [y; r; h] (E + R + H) → 3H   +   query H → A   +   scores S·A   +   context S·M   +   [h; c] (H + M) → R   +   R → V ).
    """
    return _encoder(E, H, B, S) + _decoder(V, E, H, B, S, T)


def decoding(V: int, E: int, H: int, N: int, S: int, T: int, K: int) -> int:
    """Returns the operations of a search with N sources and K hypotheses each: the encoder reads a source once, the decoder K outputs."""
    return _encoder(E, H, N, S) + _decoder(V, E, H, N * K, S, T)


def _encoder(E: int, H: int, B: int, S: int) -> int:
    return 2 * layer("gru", B, S, E, H) + product(B, 2 * H, H) + product(B * S, 2 * H, H)


def _decoder(V: int, E: int, H: int, B: int, S: int, T: int) -> int:
    A, M, R = H, 2 * H, H
    attention = product(B * T, H, A) + product(B * T, A, S) + product(B * T, S, M)
    return attention + layer("gru", B, T, E + R, H) + product(B * T, H + M, R) + product(B * T, R, V)


def additive_attention(B: int, T: int, S: int, A: int, M: int) -> int:
    """Returns the operations of v · tanh(q + k) over all pairs and of the contexts, queries and keys given:   2 B T S (A + M)."""
    return product(B * T, A, S) + product(B * T, S, M)


def training(forward: int) -> int:
    """Returns the operations of forward and backward pass: 3 × forward."""
    return 3 * forward
