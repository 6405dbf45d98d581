"""Scores and weights that the test suites of other libraries expect, for parameters that they state."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import attention
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig

THREES_BxSx3 = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]])
ONES_Bx3 = np.array([[0, 0, 0], [1, 1, 1]])


def scores(name: str, params, query_BxH, memory_BxSxM, score_size: int = 0):
    """e_BxS of one look."""
    query_BxH, memory_BxSxM = jnp.asarray(query_BxH, jnp.float32), jnp.asarray(memory_BxSxM, jnp.float32)
    sizes = Sizes(memory=memory_BxSxM.shape[2], query=query_BxH.shape[1], score=score_size)
    row = attention.SCORES[name](ModelConfig(attention=name), sizes)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    keys = row.project(params, memory_BxSxM, jnp.ones(memory_BxSxM.shape[:2], bool))
    return row.score(params, keys, (), query_BxH[:, None])[:, 0]


def test_allennlp_s_additive_attention(evidence):
    params = {
        "query": [[-0.2, 0.3], [-0.5, 0.5]],
        "memory": [[0.0, 1.0], [1.0, 1.0], [1.0, -1.0]],
        "v": [[1.0], [-1.0]],
    }
    params = {name: np.array(value) for name, value in params.items()}
    memory_BxSxM = [
        [[1.0, -1.0, 3.0], [0.5, -0.3, 0.0], [0.2, -1.0, 1.0], [0.7, 0.8, -1.0]],
        [[-2.0, 3.0, -3.0], [0.6, 0.2, 2.0], [0.5, -0.4, -1.0], [0.2, 0.2, 0.0]],
    ]
    expected_BxS = [[1.975072, -0.04997836, 1.2176098, -0.9205586], [-1.4851665, 1.489604, -1.890285, -1.0672251]]
    query_BxH = [[0.7, -0.8], [0.4, 0.9]]
    reference = "AllenNLP: additive_attention_test.py, expected scores"
    evidence("attention=additive", reference, scores("additive", params, query_BxH, memory_BxSxM, 2), expected_BxS, atol=1e-6)
    stacked = {"query_and_memory": np.concatenate([params["query"], params["memory"]]), "v": params["v"]}
    evidence("attention=concat", reference, scores("concat", stacked, query_BxH, memory_BxSxM, 2), expected_BxS, atol=1e-6)


def test_allennlp_s_dot_product_attention(evidence):
    reference = "AllenNLP: dot_product_attention_test.py, expected scores"
    evidence("attention=dot", reference, scores("dot", {}, ONES_Bx3, THREES_BxSx3), [[0, 0], [24, 33]])


def test_allennlp_s_bilinear_attention(evidence):
    """Without its bias of 0.1."""
    params = {"memory": np.array([[-0.3, 0.5], [2.0, -1.0]]).T}
    ours_BxS = scores("general", params, [[1, 1]], [[[1, 0], [0, 1]]])
    evidence("attention=general", "AllenNLP: bilinear_attention_test.py, expected scores", ours_BxS, [[1.8 - 0.1, -0.4 - 0.1]], atol=1e-6)


def test_allennlp_s_cosine_attention(evidence):
    """Its numbers are good to two decimals; β is 1 here."""
    sharpness = np.log(np.expm1(1 / 3**0.5))
    ours_BxS = scores("cosine", {"query": np.eye(3), "sharpness": sharpness}, ONES_Bx3, THREES_BxSx3)
    reference = "AllenNLP: cosine_attention_test.py, expected scores (two decimals)"
    evidence("attention=cosine", reference, ours_BxS, [[0.0, 0.0], [0.9948, 0.9973]], rtol=0, atol=5e-3)


def looks(name: str, params, A: int):
    """Keras' query [[1, 0], [0, 1]], key [[0, 1], [1, 0]] and value [[1, 2], [3, 4]]: a memory vector here is [key; value]."""
    mechanism = attention.build(ModelConfig(attention=name), Sizes(memory=4, query=2, score=A))
    memory_1x2x4 = jnp.array([[[0.0, 1.0, 1.0, 2.0], [1.0, 0.0, 3.0, 4.0]]])
    params = {"score": jax.tree.map(jnp.asarray, params), "normaliser": {}, "window": {}, "estimator": {}}
    prepared = mechanism.prepare(params, memory_1x2x4, jnp.ones((1, 2), bool))
    seen = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), jnp.eye(2)[None])
    return seen.context_BxTxC[:, :, 2:], seen.weights_BxTxS


KEY_4x2 = np.eye(4, 2, dtype=np.float32)  # reads the key


def test_keras_dot_attention(evidence):
    context_1x2x2, weights_1x2x2 = looks("general", {"memory": KEY_4x2}, 0)
    reference = "Keras 3: attention_test.py, test_attention_correctness, dot (three decimals)"
    evidence("attention=general", reference, context_1x2x2, [[[2.462, 3.462], [1.538, 2.538]]], rtol=0, atol=1e-3)
    evidence("attention=general", reference, weights_1x2x2, [[[0.269, 0.731], [0.731, 0.269]]], rtol=0, atol=1e-3)


def test_keras_additive_attention(evidence):
    I, v = np.eye(2, dtype=np.float32), np.ones((2, 1), np.float32)
    for name, params in (
        ("additive", {"query": I, "memory": KEY_4x2, "v": v}),
        ("concat", {"query_and_memory": np.concatenate([I, KEY_4x2]), "v": v}),
    ):
        context_1x2x2, weights_1x2x2 = looks(name, params, 2)
        reference = "Keras 3: additive_attention_test.py, test_attention_correctness (three decimals)"
        evidence(f"attention={name}", reference, context_1x2x2, [[[1.727, 2.727], [2.272, 3.272]]], rtol=0, atol=1e-3)
        evidence(f"attention={name}", reference, weights_1x2x2, [[[0.636, 0.363], [0.363, 0.636]]], rtol=0, atol=1e-3)
