"""tanh and σ, written so that a CPU's compiler makes vector code of them wherever they stand.

`jnp.tanh` is fast alone; in a loop's fused gates XLA calls it number by number (measured in docs/performance.md). Plain arithmetic
stays fast: on a CPU, in float32, `tanh` is the rational function of Eigen and XLA,

    tanh x ≈ x P(x²) / Q(x²),  |x| ≤ 7.9,  P of degree 6, Q of degree 3; within 4e-7

elsewhere it is `jnp.tanh`. Either way its derivative is 1 - tanh².
"""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.types.signatures import Array

LARGEST = 7.90531110763549805
"""tanh rounds to 1 in float32 from here on."""
NUMERATOR = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
DENOMINATOR = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


SCALE = 256
"""Of numerator and denominator, near 0.005 at 0: x P must not underflow before x does. A power of two, so nothing is rounded."""


@jax.custom_jvp
def tanh(x: Array) -> jax.Array:
    """Computes tanh x, elementwise: within 4e-7 in float32 on CPUs, `jnp.tanh` elsewhere and for other types."""
    if x.dtype != jnp.float32:
        return jnp.tanh(x)
    return jax.lax.platform_dependent(x, cpu=rational, default=jnp.tanh)


@tanh.defjvp
def _tanh_derivative(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = tanh(x)
    return y, dx * (1 - y * y)


def rational(x: Array):
    """Computes x P(x²) / Q(x²) ≈ tanh x in float32, |x| cut to `LARGEST`."""
    x = jnp.clip(x, -LARGEST, LARGEST)
    square = x * x
    return x * _polynomial(NUMERATOR, square) / _polynomial(DENOMINATOR, square)


def _polynomial(coefficients: tuple[float, ...], x):
    """Evaluates `SCALE` times a polynomial by Horner's rule; coefficients of the highest power first."""
    value = jnp.full_like(x, np.float32(SCALE * coefficients[0]))
    for c in coefficients[1:]:
        value = value * x + np.float32(SCALE * c)
    return value


def sigmoid(x: Array) -> jax.Array:
    """Computes σ(x) = ½ tanh(½ x) + ½, within 2e-7. Below a log or a quotient take `jax.nn.log_sigmoid` or `jax.nn.sigmoid`."""
    return 0.5 * tanh(0.5 * x) + 0.5
