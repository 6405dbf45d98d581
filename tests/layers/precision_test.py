"""Products in the precision that is asked for: rounded operands against numpy's bits, every product of an update, rows that say so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from attention_jax import training
from attention_jax.config import Config, ConfigError, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.layers import precision
from attention_jax.running.resolved import resolve
from attention_jax.sweeps import sweep
from experiments import bottleneck
from tests.built import built

PRECISIONS = pytest.mark.parametrize("name", ["tf32", "bf16"])
HIGH, HIGHEST = jax.lax.Precision.HIGH, jax.lax.Precision.HIGHEST


def random(*shape, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numpy_rounded(x, digits: int):
    """To nearest, ties to even, by the bits of float32, which has 23 digits."""
    bits, dropped = np.asarray(x, np.float32).view(np.uint32), 23 - digits
    odd = (bits >> dropped) & 1
    return ((bits + (1 << (dropped - 1)) - 1 + odd) >> dropped << dropped).astype(np.uint32).view(np.float32).astype(np.float64)


@PRECISIONS
def test_operands_are_rounded_and_sums_are_not(name):
    digits = precision.DIGITS[name]
    a, b = random(5, 64), random(64, 3, seed=1)
    found = jax.jit(precision.applied(jnp.matmul, name))(a, b)
    np.testing.assert_allclose(found, numpy_rounded(a, digits) @ numpy_rounded(b, digits), rtol=1e-5, atol=1e-6)
    assert np.abs(found - a @ b).max() > 1e-4


@PRECISIONS
def test_the_products_of_gradients_are_rounded_too(name):
    digits = precision.DIGITS[name]
    x, w, g = random(8, 16), random(16, 4, seed=1), random(8, 4, seed=2)

    def gradients(x, w):
        return jax.vjp(jnp.matmul, x, w)[1](g)

    d_x, d_w = jax.jit(precision.applied(gradients, name))(x, w)
    x, w, g = (numpy_rounded(array, digits) for array in (x, w, g))
    np.testing.assert_allclose(d_x, g @ w.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(d_w, x.T @ g, rtol=1e-5, atol=1e-6)


@jax.custom_vjp
def own_gradient(x, w):
    return x @ w


own_gradient.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))

WITHIN = {
    "scan": lambda x, w: jax.lax.scan(lambda c, row: (c, row[None] @ w), 0, x)[1][:, 0],
    "while": lambda x, w: jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, x @ w), (0, jnp.zeros((6, 3))))[1],
    "cond": lambda x, w: jax.lax.cond(x[0, 0] > 100, lambda: jnp.zeros((6, 3)), lambda: x @ w),
    "jit": jax.jit(jnp.matmul),
    "vmap": lambda x, w: jax.vmap(lambda row: row @ w)(x),
    "checkpoint": jax.checkpoint(jnp.matmul),
    "custom_vjp": own_gradient,
    "einsum": lambda x, w: jnp.einsum("bi,io->bo", x, w),
}


@pytest.mark.parametrize("where", WITHIN)
def test_products_within_other_operations(where):
    x, w = random(6, 32), random(32, 3, seed=1)
    found = precision.applied(WITHIN[where], "bf16")(x, w)
    np.testing.assert_allclose(found, numpy_rounded(x, 7) @ numpy_rounded(w, 7), rtol=1e-5, atol=1e-6)


def test_the_highest_precision_of_a_cpu_is_what_it_has():
    assert precision.applied(jnp.matmul, "highest") is jnp.matmul


def products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


def settings(name: str, **model) -> Config:
    return Config(
        model=ModelConfig(hidden_size=6, embedding_size=4, **model),
        data=DataConfig(longest=4, eval_lengths=(4,)),
        training=TrainingConfig(batch_size=2, precision=name),
    )


@pytest.mark.parametrize(
    ("backend", "name", "wanted"),
    [
        ("gpu", "highest", (HIGHEST, HIGHEST)),
        ("gpu", "tf32", (HIGH, HIGH)),
        ("gpu", "bf16", jax.lax.DotAlgorithmPreset.BF16_BF16_F32),
        ("tpu", "bf16", (jax.lax.Precision.DEFAULT,) * 2),
    ],
)
@pytest.mark.parametrize(
    "model", [{}, {"cell": "lstm", "attention": "general", "feeding": True, "timing": "after"}, {"heads": 2, "copy": True}]
)
def test_no_product_of_an_update_escapes(backend, name, wanted, model, monkeypatch):
    config = settings(name, **model)
    state = training.init(*built(config), 0, 1e-3)
    batch = sources.build(config).sample(state.key, 0)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    found = list(products(jax.make_jaxpr(lambda state, batch: training.train_step(state, batch, *built(config)))(state, batch).jaxpr))
    assert len(found) > 10 and set(found) == {wanted}


@pytest.mark.long
def test_an_update_in_each_precision():
    """The gradients differ as much as the rounding of operands does: relative to their norm by some 2⁻¹¹ and 2⁻⁸."""
    found = {}
    for name in ("highest", "tf32", "bf16"):
        config = settings(name)
        state = training.init(*built(config), 0, 1e-3)
        batch = sources.build(config).sample(state.key, 0)
        gradients, _ = jax.jit(lambda state, batch, config=config: training.gradients(state, batch, *built(config)))(state, batch)
        found[name] = jax.flatten_util.ravel_pytree(gradients)[0]
    off = {name: float(jnp.linalg.norm(g - found["highest"]) / jnp.linalg.norm(found["highest"])) for name, g in found.items()}
    assert off["highest"] == 0 and 1e-5 < off["tf32"] < 3e-3 and 3e-4 < off["bf16"] < 3e-2


def test_the_precision_of_products_that_say_nothing(monkeypatch):
    assert precision.current() == "highest"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert precision.current() == "tf32"
    for name in ("highest", "tf32", "bf16"):
        with jax.default_matmul_precision(precision.named(name)):
            assert precision.current() == name


def test_bf16_is_refused_with_cudnn():
    with pytest.raises(ConfigError, match="set highest or tf32"):
        resolve(Config(model=ModelConfig(loop="cudnn", cell="lstm"), training=TrainingConfig(precision="bf16")))


def test_rows_say_it():
    for run in sweep.plan(bottleneck, "tiny", ["training.precision=tf32"]):
        assert run.fields["precision"] == "tf32"
    assert sweep.plan(bottleneck, "tiny")[0].fields["precision"] == "highest"
