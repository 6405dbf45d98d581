"""Cells, encoders and attention as Flax Linen modules, for people who bring their own model.

    from attention_jax.adapters.linen.attention import Attention      every mechanism of attention.TABLE, normalisers, windows, estimators
    from attention_jax.adapters.linen.encoder import Encoder          every encoder of encoders.TABLE
    from attention_jax.adapters.linen.cells import Cell               every cell of layers.cells.TABLE, for `flax.linen.RNN`
    from attention_jax.adapters.linen.parameters import to_flax, from_flax      parameters of the functions ↔ of the modules

Fields are the settings of `config.ModelConfig`, with its names and defaults; sizes are read off the inputs. Arrays lead with the
batch, masks are True where real. Parameters are named kernel and bias, start as those of the functions do, and are kept in
`param_dtype`; `dtype` is what is computed in (None: what inputs and parameters promote to). Random numbers of training come from
the streams "attention" and "dropout". In NNX: `flax.nnx.bridge.ToNNX(module, rngs=nnx.Rngs(0)).lazy_init(...)`. See docs/using.md.
"""
