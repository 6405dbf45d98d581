"""Data → memory. An encoder turns embedded inputs into one vector per position and a final state.

    init(key) → params
    apply(params, inputs_BxSxE, mask_BxS, keys_B) → Memory(states_BxSxM, mask_BxS, final_BxD)

`keys_B` (one key per example) drive dropout; None switches it off. States are zero where the mask is False.
"""
