"""The phases of an operation on the standard log: of the whole program, or by a logger of your own."""

import io
import logging

import numpy as np

import planmath

operand = np.ones((16, 16), np.complex128)

# A logger of your own, for one operation.
text = io.StringIO()
logger = logging.getLogger("transforms")
logger.addHandler(logging.StreamHandler(text))
logger.setLevel(logging.INFO)
logger.propagate = False
planmath.fft.fft(operand, options={"logger": logger})

for phase in ("SPECIFICATION", "PLANNING", "EXECUTION", "RESOURCE RELEASE"):
    assert phase in text.getvalue()

# The whole program's log.
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s")
planmath.fft.fft(operand)
