"""A user's program, checked by mypy --strict."""

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import torch

import planmath
from planmath.fft.options import FFTOptionsDict

x: npt.NDArray[np.complex128] = np.ones(8, complex)
options: FFTOptionsDict = {"norm": "ortho", "provider": "pocketfft"}
y = planmath.fft.fft(x, options=options)
assert_type(y, npt.NDArray[Any])
z = planmath.fft.rfft(torch.ones(4), axes=[0], options={"result_layout": "natural"})
assert_type(z, torch.Tensor)

with planmath.fft.FFT(x, options={"inplace": False}) as transform:
    transform.plan()
    result: npt.NDArray[np.complex128] = transform.execute()
