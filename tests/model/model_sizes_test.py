"""How large models are: what is handed from encoder to decoder, and sizes matched by the number of parameters."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, encoders, model
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig
from attention_jax.running.resolved import check
from attention_jax.system.errors import ConfigError
from attention_jax.types import Batch

S, V, H, E = 5, 9, 6, 4
BASE = ModelConfig(hidden_size=H, embedding_size=E, decoder_size=2 * H, attention_size=5)


@pytest.mark.parametrize(
    "settings, bridge, backward, zero",
    [
        ({"cell": "gru", "direction": "both"}, 2 * H, H, 2 * H),
        ({"cell": "gru_before", "direction": "reversed"}, H, H, H),
        ({"cell": "rnn", "direction": "forward"}, H, None, H),
        ({"cell": "lstm", "direction": "both"}, 4 * H, H, 2 * H),
        ({"cell": "lstm", "direction": "both", "layers": 3}, 12 * H, H, 2 * H),
        ({"cell": "gru", "direction": "forward", "layers": 2}, 2 * H, None, H),
    ],
    ids=str,
)
def test_state_size_is_what_crosses(settings, bridge, backward, zero):
    config = dataclasses.replace(BASE, **settings)
    for start, expected in (("bridge", bridge), ("backward", backward), ("zero", zero)):
        if expected is not None:
            assert model.state_size(dataclasses.replace(config, start=start)) == expected


def crossing(config: ModelConfig) -> int:
    """Floats of the arrays that a decoder of this config is handed, the memory of a score without slots aside: counted on shapes."""
    shapes = jax.eval_shape(model.build(config, V).init, jax.random.key(0))["decoder"]
    encoder = encoders.build(config, E)
    mechanism = attention.build(config, Sizes(encoder.memory_size, 2 * H, 5, encoder.directions, E))
    memory = jax.ShapeDtypeStruct((1, S, encoder.memory_size), jnp.float32), jax.ShapeDtypeStruct((1, S), bool)
    prepared = jax.eval_shape(mechanism.prepare, shapes["attention"], *memory)
    vectors = (prepared[0],) if config.attention == "summary" else ()
    if config.slots:
        (_, slots_1xKxC, _), *_ = prepared
        vectors = [jax.ShapeDtypeStruct((slots_1xKxC.shape[2],), jnp.float32)] * slots_1xKxC.shape[1]
    read = shapes["start"]["weight"].shape[0] if "start" in shapes else 0
    counted = [math.prod(vector.shape) for vector in vectors]
    return max(*counted, read) if len(counted) == 1 else sum(counted) + read  # one vector is (a part of) what the start reads


@pytest.mark.parametrize("start", ["zero", "bridge"])
@pytest.mark.parametrize("d", [0, 1, 5])
@pytest.mark.parametrize(
    "arm", [{"attention": "none"}, {"attention": "summary"}, {"attention": "general"}, {"slots": 1}, {"slots": 3}], ids=str
)
def test_state_size_counts_vectors_and_slots(arm, d, start):
    for rest in ({}, {"cell": "lstm", "direction": "forward"}, {"cell": "lstm", "layers": 3}, {"encoder": "gnmt", "layers": 2}):
        config = dataclasses.replace(BASE, **arm, **rest, vector_size=d, start=start)
        if d or "slots" in arm:
            assert model.state_size(config) == crossing(config), rest
        else:
            assert model.state_size(config) == model.state_size(dataclasses.replace(config, attention="summary")), "as without the setting"
    if d:
        assert model.state_size(config) == {"none": 0, "general": 0, "summary": d}.get(arm.get("attention"), arm.get("slots", 0) * d) + (
            0 if start == "zero" or arm.get("attention") == "summary" or arm.get("slots") == 1 else d
        )


REFERENCE = Config(run="additive", model=ModelConfig(hidden_size=24, embedding_size=16))


@pytest.mark.parametrize(
    "change", [{"attention": "none"}, {"attention": "summary"}, {"cell": "rnn"}, {"decoder_size": 90}, {"vector_size": 4}], ids=str
)
def test_matching_by_parameters_moves_the_decoder_only(change):
    config = dataclasses.replace(REFERENCE, run="arm", model=dataclasses.replace(REFERENCE.model, **change))
    goal = model.parameters(REFERENCE.model, V)
    assert abs(model.parameters(config.model, V) / goal - 1) > 0.02 or change == {"attention": "summary"}
    matched = model.match_parameters(config, REFERENCE, V)
    assert abs(model.parameters(matched.model, V) / goal - 1) <= 0.02
    same = dataclasses.replace(matched, model=dataclasses.replace(matched.model, decoder_size=config.model.decoder_size))
    assert same == config
    widths = [matched.model.decoder_size + step for step in (-1, 1)]
    best = abs(model.parameters(matched.model, V) - goal)
    for width in widths:
        assert best <= abs(model.parameters(dataclasses.replace(matched.model, decoder_size=width), V) - goal)


def test_matching_by_parameters_says_when_it_cannot():
    small = dataclasses.replace(REFERENCE, model=dataclasses.replace(REFERENCE.model, hidden_size=2, embedding_size=2))
    with pytest.raises(ConfigError, match=r"match=parameters: no decoder width brings additive within 2 %"):
        model.match_parameters(REFERENCE, small, V)


def test_matching_a_config_to_itself_changes_no_size():
    dot = dataclasses.replace(REFERENCE, model=dataclasses.replace(REFERENCE.model, attention="dot", direction="forward"))
    for config in (REFERENCE, dot):
        matched = model.match_parameters(config, config, V)
        assert model.parameters(matched.model, V) == model.parameters(config.model, V)


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"vector_size": 3}, {"vector_size": 3, "direction": "both"}], ids=str)
def test_what_is_handed_over_is_the_context_of_summary_and_what_every_arm_starts_from(settings):
    settings = {"direction": "forward", "feedback": False} | settings
    source_BxS = jnp.array([[4, 5, 6, 2, 0], [7, 8, 4, 5, 2]])
    mask_BxS = source_BxS != 0
    for arm in ("summary", "additive"):
        config = dataclasses.replace(BASE, attention=arm, **settings)
        stages = model.stages(config, V)
        params = model.build(config, V).init(jax.random.key(1))
        vector_BxD = model.handed_over(stages, params, source_BxS, mask_BxS)
        assert vector_BxD.shape == (2, model.state_size(config))
        (prepared, _, _), state = model.start(stages, params, source_BxS, mask_BxS)
        project = jax.tree.map(np.asarray, params["decoder"]["start"])
        np.testing.assert_allclose(state[0][0], np.tanh(np.asarray(vector_BxD) @ project["weight"] + project["bias"]), atol=1e-6)
        if arm == "summary":
            steps = stages.decoder.unroll(params["decoder"], prepared, state, jnp.zeros((2, 4, E)))
            np.testing.assert_allclose(steps.context, np.broadcast_to(vector_BxD[:, None], steps.context.shape), atol=1e-6)


@pytest.mark.parametrize("start", ["zero", "backward"])
def test_only_a_bridge_hands_a_vector_over(start):
    stages = model.stages(dataclasses.replace(BASE, start=start), V)
    with pytest.raises(ConfigError, match=f"model.start={start} hands no vector over"):
        model.handed_over(stages, {}, jnp.zeros((1, S), int), jnp.ones((1, S), bool))


def test_source_and_target_may_have_vocabularies_of_different_sizes():
    config = REFERENCE.model
    params = jax.eval_shape(model.build(config, (11, 7)).init, jax.random.key(0))
    E = config.embedding_size
    assert (
        params["source_embedding"].shape == (11, E)
        and params["target_embedding"].shape == (7, E)
        and params["logits"]["bias"].shape == (7,)
    )
    assert model.parameters(config, (11, 7)) == model.parameters(config, 7) + 4 * E
    assert model.build(config, (7, 7)) is model.build(config, 7)
    tied = dataclasses.replace(config, tied="output")
    batch = Batch(
        source_BxS=np.array([[10, 9, 2]]), source_mask_BxS=np.ones((1, 3), bool), target_BxT=np.array([[6, 2]]),
        target_mask_BxT=np.ones((1, 2), bool), gold_BxT=np.full((1, 2), -1), length_B=np.array([2]), example_B=np.array([0]),
    )  # fmt: skip
    for each in (config, tied):
        made = model.build(each, (11, 7))
        assert jax.eval_shape(lambda made=made: made.forced(made.init(jax.random.key(1)), batch).logits_BxTxV).shape == (1, 2, 7)


@pytest.mark.parametrize(
    ("change", "why"), [({"copy": True}, r"model\.copy=True copies tokens"), ({"tied": "all"}, r"model\.tied=all has one")]
)
def test_what_needs_one_vocabulary_says_so(change, why):
    config = dataclasses.replace(REFERENCE.model, **change)
    with pytest.raises(ConfigError, match=f"^{why} .*, and the source has 11 tokens, the target 7$"):
        model.build(config, (11, 7))
    separate = Config(model=config, data=DataConfig(task="multi30k"), text=TextConfig(vocabularies="separate"))
    with pytest.raises(ConfigError, match=f"^text\\.vocabularies=separate is impossible: {why} .*; set text\\.vocabularies=shared$"):
        check(separate)
    check(dataclasses.replace(separate, text=TextConfig()))
