"""The fixed vector as d numbers: against a loop in NumPy, in every arm, and one slot is `summary` at every d."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from attention_jax import attention, encoders, model
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.attention.vector import rounded
from attention_jax.config import Config, ModelConfig, TrainingConfig, override, validate
from attention_jax.encoders.recurrent import DIRECTIONS
from attention_jax.system.errors import ConfigError
from attention_jax.training import losses
from attention_jax.types import Batch

B, S, T, M, V = 4, 7, 3, 6, 8
MASKS = {
    "behind": np.arange(S)[None, :] < np.array([7, 4, 1, 0])[:, None],
    "anywhere": np.array([[c == "#" for c in row] for row in ("..#.##.", "##.#..#", "......#", ".......")]),
}
EVERY_DIRECTION = pytest.mark.parametrize("direction", DIRECTIONS)
ANY_MASK = pytest.mark.parametrize("mask_BxS", MASKS.values(), ids=MASKS)
STARTS = pytest.mark.parametrize("start", ["zero", "bridge"])
ARMS = {
    "none": {"attention": "none"},
    "summary": {"attention": "summary"},
    "additive": {},
    "slots=1": {"slots": 1},
    "slots=3": {"slots": 3},
}
BASE = ModelConfig(hidden_size=3, embedding_size=4, attention_size=3, decoder_size=6)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


MEMORY_BxSxM, QUERY_BxTxM = random(B, S, M, seed=1), random(B, T, M, seed=2)


def parameters(init, seed: int = 0):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), shapes)


def looks(config: ModelConfig, params, mask_BxS, directions=("forward", "reversed")):
    mechanism = attention.build(config, Sizes(M, M, 3, directions))
    prepared = mechanism.prepare(params, MEMORY_BxSxM, mask_BxS)
    return look_at_all(mechanism, params, prepared, mechanism.initial(prepared), QUERY_BxTxM)


def vector_in_numpy(params, mask_BxS, directions):
    """tanh(W h + b) of each example, h put together one direction at a time."""
    W, b = (np.asarray(params["vector"][name], np.float64) for name in ("weight", "bias"))
    found, width = [], M // len(directions)
    for memory_SxM, mask_S in zip(np.asarray(MEMORY_BxSxM, np.float64), mask_BxS, strict=True):
        h_M = np.zeros(M)
        for i, name in enumerate(directions):
            part_nxH = memory_SxM[mask_S, i * width : (i + 1) * width]
            if len(part_nxH):
                h_M[i * width : (i + 1) * width] = {"forward": part_nxH[-1], "reversed": part_nxH[0], "mean": part_nxH.mean(0)}[name]
        found.append(np.tanh(h_M @ W + b))
    return np.stack(found)


@pytest.mark.parametrize("directions", [*DIRECTIONS.values(), ("mean",)], ids=str)
@ANY_MASK
def test_the_context_of_summary_is_the_projected_state(directions, mask_BxS, evidence):
    config = dataclasses.replace(BASE, attention="summary", vector_size=2)
    mechanism = attention.build(config, Sizes(M, M, 3, directions))
    params = parameters(mechanism.init)
    assert mechanism.context_size == 2 and jax.tree.map(jnp.shape, params) == {"vector": {"weight": (M, 2), "bias": (2,)}}
    ours_BxTxd = looks(config, params, mask_BxS, directions).context_BxTxC
    theirs_Bxd = vector_in_numpy(params, mask_BxS, directions)
    evidence("vector_size=d", "tanh(W h + b), h by a loop in numpy: context of summary", ours_BxTxd, np.stack([theirs_Bxd] * T, axis=1))
    handed_Bxd = mechanism.handed(params, MEMORY_BxSxM, jnp.asarray(mask_BxS))
    evidence("vector_size=d", "tanh(W h + b), h by a loop in numpy: what the start reads", handed_Bxd, theirs_Bxd)


@EVERY_DIRECTION
@ANY_MASK
@pytest.mark.parametrize("d", [0, 1, 5])
def test_one_slot_is_the_summary_at_every_d(direction, mask_BxS, d, evidence):
    config = dataclasses.replace(BASE, vector_size=d)
    one, summary = dataclasses.replace(config, slots=1), dataclasses.replace(config, attention="summary")
    params = parameters(attention.build(one, Sizes(M, M, 3, DIRECTIONS[direction])).init)
    own = {name: params[name] for name in params if name == "vector"}
    ours, theirs = (looks(c, p, mask_BxS, DIRECTIONS[direction]).context_BxTxC for c, p in ((one, params), (summary, own)))
    real_B = mask_BxS.any(1)
    evidence("slots=1", f"attention=summary, vector_size={d}", ours[real_B], theirs[real_B], rtol=0, atol=1e-6)


def batch(mask_BxS) -> Batch:
    rng = np.random.default_rng(0)
    source_BxS, target_BxT = rng.integers(4, V, (B, S)), rng.integers(4, V, (B, T))
    arrays = (
        np.where(mask_BxS, source_BxS, 0),
        mask_BxS,
        target_BxT,
        np.ones((B, T), bool),
        np.full((B, T), -1),
        mask_BxS.sum(1),
        np.arange(B),
    )
    return jax.tree.map(lambda x: jnp.asarray(x)[:3], Batch(*arrays))  # the last has no source: a slot of none is no vector


@cache
def model_and_gradients(config: ModelConfig):
    """(model, jitted: (params, batch) → (logits, gradients of the loss))."""
    made = model.build(config, V)

    def objective(params, batch):
        outputs = made.forced(params, batch)
        return losses.sums(outputs, batch, TrainingConfig()).objective, outputs.logits_BxTxV

    return made, jax.jit(lambda params, batch: jax.grad(objective, has_aux=True)(params, batch)[::-1])


@pytest.mark.long
@STARTS
@pytest.mark.parametrize("d", [0, 1, 5])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_whole_models_of_one_slot_and_of_the_summary_agree_in_logits_and_gradients(d, cell, start, evidence):
    config = dataclasses.replace(BASE, vector_size=d, start=start, cell=cell, direction="both")
    first, of_slots = model_and_gradients(dataclasses.replace(config, slots=1))
    _, of_summary = model_and_gradients(dataclasses.replace(config, attention="summary"))
    params = parameters(first.init)

    def renamed(tree):
        """A slot's parameters as the summary has them: without those of the score."""
        own = tree["decoder"]["attention"]
        return tree | {"decoder": tree["decoder"] | {"attention": {"vector": own["vector"]} if d else {}}}

    logits, gradients = zip(of_slots(params, batch(MASKS["anywhere"])), of_summary(renamed(params), batch(MASKS["anywhere"])), strict=True)
    evidence("slots=1", f"attention=summary, vector_size={d}, whole model", *logits, rtol=0, atol=1e-6)
    assert jax.tree.structure(renamed(gradients[0])) == jax.tree.structure(gradients[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), renamed(gradients[0]), gradients[1])
    assert not any(np.abs(g).max() > 1e-6 for g in jax.tree.leaves(gradients[0]["decoder"]["attention"]["score"]))


@ANY_MASK
def test_scores_look_at_slots_of_d_numbers(mask_BxS, evidence):
    """Inner products of queries of d = 2 numbers, the decoder's size, with three slots, a loop over segments."""
    config = dataclasses.replace(BASE, attention="dot", slots=3, vector_size=2, start="zero")
    mechanism = attention.build(config, Sizes(M, 2, 3, ("forward", "reversed")))
    params, query_BxTx2 = parameters(mechanism.init), random(B, T, 2, seed=3)
    prepared = mechanism.prepare(params, MEMORY_BxSxM, mask_BxS)
    ours_BxTx2 = mechanism.block(params, prepared, mechanism.initial(prepared), query_BxTx2).context_BxTxC
    W, b = (np.asarray(params["vector"][name], np.float64) for name in ("weight", "bias"))
    expected_BxTx2 = np.zeros((B, T, 2))
    for i in range(B):
        real = np.flatnonzero(mask_BxS[i])
        segments = [[p for r, p in enumerate(real) if r * min(3, len(real)) // len(real) == k] for k in range(min(3, len(real)))]
        h_KxM = np.array([np.concatenate([MEMORY_BxSxM[i, s[-1], :3], MEMORY_BxSxM[i, s[0], 3:]]) for s in segments], np.float64)
        if len(segments):
            v_KxD = np.tanh(h_KxM @ W + b)
            e_TxK = np.exp(np.asarray(query_BxTx2[i], np.float64) @ v_KxD.T)
            expected_BxTx2[i] = e_TxK / e_TxK.sum(1, keepdims=True) @ v_KxD
    evidence("slots=K", "attention=dot over tanh(W h + b) of each segment's ends, a loop in numpy", ours_BxTx2, expected_BxTx2)


ENCODED = [("recurrent", arm) for arm in ARMS] + [("image", arm) for arm in ("none", "summary", "additive")]  # an image has no segments


@pytest.mark.parametrize(("encoder", "arm"), ENCODED)
def test_every_arm_starts_from_the_vector(encoder, arm, evidence):
    config = dataclasses.replace(BASE, vector_size=2, encoder=encoder, cell="lstm", **ARMS[arm])
    made = model.build(config, V)
    params = parameters(made.init)
    source_BxS, mask_BxS = jnp.full((2, 4), 5), jnp.array([[True, True, False, False], [True] * 4])
    _, ((carry_BxF,), *_) = made.start(params, source_BxS, mask_BxS)
    states_BxSxM = encoders.build(config, 4).apply(params["encoder"], params["source_embedding"][source_BxS], mask_BxS).states_BxSxM
    W, b = (np.asarray(params["decoder"]["attention"]["vector"][name]) for name in ("weight", "bias"))
    for i, n in enumerate((2, 4)):
        if encoder == "image":
            h_M = np.asarray(states_BxSxM[i, :n]).mean(0)
        else:
            h_M = np.concatenate([states_BxSxM[i, n - 1, :3], states_BxSxM[i, 0, 3:]])
        expected_F = np.tanh(np.tanh(h_M @ W + b) @ params["decoder"]["start"]["weight"] + params["decoder"]["start"]["bias"])
        evidence("vector_size=d", "start=bridge: tanh(W tanh(W_v h + b_v) + b) in numpy", carry_BxF[i], expected_F)


@pytest.mark.parametrize("arm", ARMS)
@STARTS
def test_only_what_crosses_changes_its_size(arm, start):
    """Encoder and decoder keep theirs; the projection exists where something reads it."""
    plain, narrow = (
        jax.tree.map(
            jnp.shape,
            jax.eval_shape(model.build(dataclasses.replace(BASE, start=start, vector_size=d, **ARMS[arm]), V).init, jax.random.key(0)),
        )
        for d in (0, 2)
    )
    read = start == "bridge" or arm not in ("none", "additive")
    assert narrow["decoder"]["attention"].pop("vector", None) == ({"weight": (6, 2), "bias": (2,)} if read else None)
    for part in ("encoder", "source_embedding", "target_embedding", "logits"):
        assert narrow[part] == plain[part]
    assert narrow["decoder"]["cell"] == plain["decoder"]["cell"]
    assert (narrow["decoder"] == plain["decoder"]) == (not read)


@pytest.mark.long
@pytest.mark.parametrize("arm", ["summary", "additive", "slots=3"])
def test_gradients_agree_with_finite_differences(arm):
    with jax.enable_x64(True):
        config = dataclasses.replace(BASE, vector_size=2, **ARMS[arm])
        made = model.build(config, V)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), parameters(made.init))
        given = batch(MASKS["anywhere"])
        own = {name: params["decoder"][name] for name in ("attention", "start")}

        def loss(own, embedding):
            changed = params | {"decoder": params["decoder"] | own, "source_embedding": embedding}
            return losses.sums(made.forced(changed, given), given, TrainingConfig()).objective

        check_grads(jax.jit(loss), (own, params["source_embedding"]), order=1, modes=["rev"], eps=1e-6, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"start": "backward"},
            "model.start=backward reads a state of the encoder, and model.vector_size=2 leaves a vector of it: set model.start=bridge",
        ),
        ({"slots": 2, "attention": "dot"}, "M=2 and H=6: set model.decoder_size=2"),
        ({"slots": 2, "heads": 3}, "heads=3 does not divide the memory vector M=2"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        model.build(dataclasses.replace(BASE, vector_size=2, **settings), V)


def test_sizes_below_zero_are_refused():
    with pytest.raises(ConfigError, match=r"model\.vector_size=-1 is impossible: it must be at least 0"):
        validate(override(Config(), "model.vector_size", -1))


def nearest(v_N, bits: int):
    """Each number's nearest of those that there are, one at a time: of a grid, or of all bfloat16 of [-1, 1]."""
    if bits == 16:
        patterns = np.arange(2**16, dtype=np.uint32) << 16
        every = patterns.view(np.float32)
        grid = np.sort(every[np.isfinite(every) & (np.abs(every) <= 1)]).astype(np.float64)
    else:
        grid = np.linspace(-1, 1, 2**bits)
    return np.array([grid[np.abs(grid - v).argmin()] for v in np.asarray(v_N, np.float64)])


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_numbers_are_the_nearest_of_so_many(bits, evidence):
    v_N = np.random.default_rng(bits).uniform(-1, 1, 2000).astype(np.float32)
    ours_N = np.asarray(rounded(v_N, bits))
    evidence("vector_bits", f"the nearest of 2^{bits} numbers, one at a time", ours_N, nearest(v_N, bits), rtol=0, atol=1e-6)
    assert len(np.unique(ours_N)) <= 2**bits and np.abs(ours_N).max() <= 1
    np.testing.assert_array_equal(rounded(ours_N, bits), ours_N)
    if bits < 16:
        assert len(np.unique(ours_N)) == 2**bits
        np.testing.assert_array_equal(rounded(np.float32([-1, 1]), bits), [-1, 1])


def test_no_bits_are_no_operation():
    assert rounded(MEMORY_BxSxM, 0) is MEMORY_BxSxM


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_the_gradient_is_that_of_the_number_that_was_rounded(bits):
    v_xC = jnp.tanh(random(3, 5))
    towards_xC = random(3, 5, seed=9)
    found = jax.grad(lambda v: (towards_xC * rounded(v, bits)).sum())(v_xC)
    np.testing.assert_array_equal(found, towards_xC)


@pytest.mark.long
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("bits", [2, 16])
def test_every_arm_hands_over_numbers_of_so_many_bits(arm, bits):
    """What the start reads, contexts of `summary` and slots are on the grid; parameters, and every gradient, are there as without."""
    plain = dataclasses.replace(BASE, vector_size=2, **ARMS[arm])
    config = dataclasses.replace(plain, vector_bits=bits)
    (made, with_gradients), (before, without) = (model_and_gradients(each) for each in (config, plain))
    params = parameters(made.init)
    assert jax.tree.structure(params) == jax.tree.structure(parameters(before.init))
    mechanism, mask_BxS = model.stages(config, V).attention, MASKS["anywhere"]
    of_attention = params["decoder"]["attention"]
    handed_Bxd = np.asarray(mechanism.handed(of_attention, MEMORY_BxSxM, jnp.asarray(mask_BxS)))
    exact_Bxd = np.asarray(model.stages(plain, V).attention.handed(of_attention, MEMORY_BxSxM, jnp.asarray(mask_BxS)))
    np.testing.assert_allclose(handed_Bxd.ravel(), nearest(exact_Bxd.ravel(), bits), rtol=0, atol=1e-6)
    if arm == "summary":
        np.testing.assert_array_equal(mechanism.prepare(of_attention, MEMORY_BxSxM, mask_BxS)[0], handed_Bxd)
    if arm == "slots=1":
        context_BxTxd = looks(config, of_attention, mask_BxS).context_BxTxC
        np.testing.assert_allclose(context_BxTxd[:3, 0], handed_Bxd[:3], rtol=0, atol=1e-6)
    (logits, gradients), (unrounded, _) = with_gradients(params, batch(mask_BxS)), without(params, batch(mask_BxS))
    assert np.isfinite(logits).all() and (np.asarray(logits) != np.asarray(unrounded)).any()
    assert np.abs(gradients["decoder"]["attention"]["vector"]["weight"]).max() > 0
    assert np.abs(gradients["source_embedding"]).max() > 0


def test_bits_of_no_vector_are_refused():
    with pytest.raises(ConfigError, match=r"model\.vector_bits=8 rounds the numbers of model\.vector_size"):
        model.build(dataclasses.replace(BASE, vector_bits=8), V)


@pytest.mark.parametrize("arm", ARMS)
def test_a_setting_that_is_off_leaves_no_operation(arm):
    """The program of a model without bits has no rounding in it; the one with bits has."""
    for bits, there in ((0, False), (8, True), (16, True)):
        made = model.build(dataclasses.replace(BASE, vector_size=2, vector_bits=bits, **ARMS[arm]), V)
        program = str(jax.make_jaxpr(made.forced)(jax.eval_shape(made.init, jax.random.key(0)), batch(MASKS["anywhere"])))
        assert ("round" in program or "reduce_precision" in program) == there
