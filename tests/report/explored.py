"""Examples for pages that are tested: arms side by side, with text that looks like something else."""

import numpy as np

from attention_jax.trained import Decoded, Known

HOSTILE = [
    "</script><script>document.title='run'</script>",
    "<img src=http://evil.example/a.png onerror=document.title='run'>",
    "</div><!--",
    "{{ 7*7 }}{% include 'x' %}",
    "&lt;b&gt;&#0;",
    "\u202egnp.exe\u2066",
    "a\0b\x1b[31m\r\n",
    "x" * 5000,
    "z" + "\u0301" * 200,
    "\ud83d half",
    "مرحبا עברית",
    "中文 ไทย 👩‍👩‍👧",
    "",
    " ",
    '"\\u003c\\"',
]
ARMS = ("summary", "additive")


def decoded(rng: np.random.Generator, source: list[str], T: int, tokens: list[str], attends: bool) -> Decoded:
    """One output of T tokens with whatever weights, norms and predictions."""
    output = [*rng.choice(tokens, T - 1).tolist(), "⏎"]
    weights_TxS = rng.dirichlet(np.full(len(source), 0.2), T) if attends else np.zeros((T, len(source)))
    likely = [[said, *rng.choice(tokens, 4).tolist()] for said in output]
    probability_TxK = -np.sort(-rng.dirichlet(np.ones(6), T), 1)[:, :5]
    return Decoded(" ".join(output), source, output, weights_TxS, -1.5, known=Known(3 * rng.random(T), likely, probability_TxK))


def runs(count: int, longest: int, tokens: list[str], seed: int = 0) -> tuple[list[str], dict[str, list[list[Decoded]]]]:
    """(lines, outputs of two arms) of as many inputs, of at most so many tokens."""
    rng = np.random.default_rng(seed)
    lines, outputs = [], {arm: [] for arm in ARMS}
    for i in range(count):
        S = 6 if i == 0 else int(rng.integers(3, longest + 1))
        source = [*rng.choice(tokens, S - 1).tolist(), "⏎"]
        lines.append(" ".join(source[:-1]))
        for arm in ARMS:
            outputs[arm].append([decoded(rng, source, S + (arm == "summary"), tokens, arm == "additive")])
    return lines, outputs
