"""Epilogs of products that are differentiated: what `matmul` takes behind PyTorch's and JAX's interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planmath.linalg.advanced import MatmulEpilog

#: The epilogs that there are: the activation, and whether there is a bias for each row.
EPILOGS = {
    MatmulEpilog.DEFAULT: ("identity", False),
    MatmulEpilog.RELU: ("relu", False),
    MatmulEpilog.GELU: ("gelu", False),
    MatmulEpilog.BIAS: ("identity", True),
    MatmulEpilog.RELU_BIAS: ("relu", True),
    MatmulEpilog.GELU_BIAS: ("gelu", True),
}

#: (activation, whether there is a bias, whether GELU's argument is kept) -> planmath's epilog.
FUSED = {
    **{(activation, bias, False): epilog for epilog, (activation, bias) in EPILOGS.items()},
    ("gelu", False, True): MatmulEpilog.GELU_AUX,
    ("gelu", True, True): MatmulEpilog.GELU_AUX_BIAS,
}


def read_epilog(epilog: MatmulEpilog | None, epilog_inputs: Mapping[str, Any] | None) -> tuple[str, Any]:
    """The activation that an epilog names, and the bias that came with it, or None. Raises where they do not fit."""
    epilog = MatmulEpilog.DEFAULT if epilog is None else MatmulEpilog(epilog)
    if epilog not in EPILOGS:
        raise ValueError(
            f"epilog is {epilog.name}, which is a part of a gradient, or leaves something for one; differentiation "
            f"does that here: expected one of {', '.join(of.name for of in EPILOGS)}"
        )
    activation, has_bias = EPILOGS[epilog]
    inputs = epilog_inputs or {}
    if set(inputs) != ({"bias"} if has_bias else set()):
        wanted = "{'bias': ...}" if has_bias else "none"
        raise ValueError(f"epilog_inputs has {', '.join(inputs) or 'nothing'}; {epilog.name} needs {wanted}")
    return activation, inputs.get("bias")
