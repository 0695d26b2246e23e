"""cuRAND's generators in Python, bit for bit, for kernels in the simulator.

The algorithms: G. Marsaglia, Xorshift RNGs (2003); J. Salmon and others, Parallel random numbers: as easy as 1, 2, 3
(2011); P. L'Ecuyer, Good parameters and implementations for combined multiple recursive random number generators
(1999); P. Bratley and B. Fox, Algorithm 659 (1988). Where subsequences start is cuRAND's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

WORD = 0xFFFFFFFF
LONG = 0xFFFFFFFFFFFFFFFF


class State:
    """One generator. What Box and Muller's method makes in pairs it keeps: (kind, value) by precision."""

    bits: ClassVar[int] = 32
    quasi: ClassVar[bool] = False

    def __init__(self) -> None:
        self.ready = False
        self.extra: dict[str, tuple[str, float]] = {}

    def init(self, *arguments: Any) -> None:
        self.start(*arguments)
        self.extra, self.ready = {}, True

    def start(self, *arguments: Any) -> None:
        raise NotImplementedError

    def next(self) -> int:
        raise NotImplementedError

    def skip(self, n: int) -> None:
        raise NotImplementedError


class Test(State):
    """Counts; subsequences are 31337 apart."""

    def start(self, seed: int, subsequence: int, offset: int) -> None:
        self.v = (seed * 3 + subsequence * 31337 + offset) & WORD

    def next(self) -> int:
        found = self.v
        self.v = (self.v + 1) & WORD
        return found

    def skip(self, n: int) -> None:
        self.v = (self.v + n) & WORD


class XORWOW(State):
    """Marsaglia's xorshift of 160 bits, and a counter. Subsequences are 2^67 apart."""

    def start(self, seed: int, subsequence: int, offset: int) -> None:
        t0 = ((seed & WORD) ^ 0xAAD26B49) * 1099087573 & WORD
        t1 = ((seed >> 32 & WORD) ^ 0xF7DCEFDD) * 2591861531 & WORD
        self.d = (6615241 + t1 + t0) & WORD
        self.v = [
            (123456789 + t0) & WORD, 362436069 ^ t0, (521288629 + t1) & WORD, 88675123 ^ t1, (5783321 + t0) & WORD,
        ]  # fmt: skip
        self.skip_sequence(subsequence)
        self.skip(offset)

    def next(self) -> int:
        v = self.v
        t = v[0] ^ v[0] >> 2
        last = v[4]
        last = (last ^ last << 4 & WORD ^ t ^ t << 1 & WORD) & WORD
        self.v = [v[1], v[2], v[3], v[4], last]
        self.d = (self.d + 362437) & WORD
        return (last + self.d) & WORD

    def skip(self, n: int) -> None:
        self._advance(n, 0)
        self.d = (self.d + 362437 * n) & WORD

    def skip_sequence(self, n: int) -> None:
        self._advance(n, 67)

    def _advance(self, n: int, power: int) -> None:
        """n times 2^power steps of the linear part."""
        if not n:
            return
        state = sum(word << 32 * place for place, word in enumerate(self.v))
        while n:
            if n & 1:
                state = _times(_xorwow_power(power), state)
            n, power = n >> 1, power + 1
        self.v = [state >> 32 * place & WORD for place in range(5)]


def _times(matrix: Sequence[int], vector: int) -> int:
    """A matrix of bits, by what each bit of a vector becomes, times a vector."""
    result, place = 0, 0
    while vector:
        if vector & 1:
            result ^= matrix[place]
        vector, place = vector >> 1, place + 1
    return result


@cache
def _xorwow_power(power: int) -> tuple[int, ...]:
    """The matrix of 2^power steps."""
    if power:
        half = _xorwow_power(power - 1)
        return tuple(_times(half, image) for image in half)
    images = []
    for bit in range(160):
        state = XORWOW()
        state.d, state.v = 0, [(1 << bit) >> 32 * place & WORD for place in range(5)]
        state.next()
        images.append(sum(word << 32 * place for place, word in enumerate(state.v)))
    return tuple(images)


class Philox4_32_10(State):
    """A counter, encrypted in ten rounds: four words each. The high half of the counter is the subsequence."""

    def start(self, seed: int, subsequence: int, offset: int) -> None:
        self.key = (seed & WORD, seed >> 32 & WORD)
        self.low, self.high, self.place = 0, subsequence & LONG, 0
        self.skip(offset)

    def _renew(self) -> None:
        c0, c1, c2, c3 = self.low & WORD, self.low >> 32, self.high & WORD, self.high >> 32
        k0, k1 = self.key
        for _ in range(10):
            p, q = 0xD2511F53 * c0, 0xCD9E8D57 * c2
            c0, c1, c2, c3 = q >> 32 ^ c1 ^ k0, q & WORD, p >> 32 ^ c3 ^ k1, p & WORD
            k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
        self.output = (c0, c1, c2, c3)

    def _count(self, n: int) -> None:
        total = self.low + n
        self.low, self.high = total & LONG, (self.high + (total >> 64)) & LONG

    def next(self) -> int:
        found = self.output[self.place]
        self.place += 1
        if self.place == 4:
            self._count(1)
            self._renew()
            self.place = 0
        return found

    def next4(self) -> tuple[int, int, int, int]:
        before, place = self.output, self.place
        self._count(1)
        self._renew()
        return (before + self.output)[place : place + 4]  # type: ignore[return-value]

    def skip(self, n: int) -> None:
        self.place += n & 3
        n >>= 2
        if self.place > 3:
            n, self.place = n + 1, self.place - 4
        self._count(n)
        self._renew()

    def skip_sequence(self, n: int) -> None:
        self.high = (self.high + n) & LONG
        self._renew()


class MRG32k3a(State):
    """L'Ecuyer's two recurrences of third order. Subsequences are 2^76 apart, sequences 2^127."""

    MODULI: ClassVar[tuple[int, int]] = (4294967087, 4294944443)

    def start(self, seed: int, subsequence: int, offset: int) -> None:
        self.s = [[12345] * 3, [12345] * 3]
        if seed:
            x1, x2 = (seed & WORD) ^ 0x55555555, (seed >> 32 & WORD) ^ 0xAAAAAAAA
            for words, factors, modulus in zip(self.s, ((x1, x2, x1), (x2, x1, x2)), self.MODULI, strict=True):
                words[:] = [word * factor % modulus for word, factor in zip(words, factors, strict=True)]
        self._advance(subsequence, 76)
        self._advance(offset, 0)

    def word(self) -> int:
        """From 1 to the first modulus."""
        (a, b), (m1, m2) = self.s, self.MODULI
        p1 = (1403580 * a[1] - 810728 * a[0]) % m1
        p2 = (527612 * b[2] - 1370589 * b[0]) % m2
        self.s = [[a[1], a[2], p1], [b[1], b[2], p2]]
        return p1 - p2 if p1 > p2 else p1 - p2 + m1

    def next(self) -> int:
        return int(self.word() * 1.000000048662)

    def skip(self, n: int) -> None:
        self._advance(n, 0)

    def skip_sequence(self, n: int) -> None:
        self._advance(n, 127)

    def skip_subsequence(self, n: int) -> None:
        self._advance(n, 76)

    def _advance(self, n: int, power: int) -> None:
        while n:
            if n & 1:
                matrices = zip(_mrg_power(power), self.s, self.MODULI, strict=True)
                self.s = [
                    [sum(c * w for c, w in zip(row, words, strict=True)) % modulus for row in matrix]
                    for matrix, words, modulus in matrices
                ]
            n, power = n >> 1, power + 1


@cache
def _mrg_power(power: int) -> tuple[Any, Any]:
    """The matrices of 2^power steps."""
    if power:
        return tuple(_square(half, m) for half, m in zip(_mrg_power(power - 1), MRG32k3a.MODULI, strict=True))
    return ((0, 1, 0), (0, 0, 1), (-810728, 1403580, 0)), ((0, 1, 0), (0, 0, 1), (-1370589, 0, 527612))


def _square(matrix: Any, modulus: int) -> Any:
    return tuple(
        tuple(sum(row[n] * matrix[n][column] for n in range(3)) % modulus for column in range(3)) for row in matrix
    )


class Sobol32(State):
    """Points of a low discrepancy, by the direction vectors of one dimension."""

    quasi: ClassVar[bool] = True
    scrambled: ClassVar[bool] = False

    def start(self, vectors: Any, *rest: int) -> None:
        if len(rest) != 1 + self.scrambled:
            takes = "(vectors, scramble, offset, state)" if self.scrambled else "(vectors, offset, state)"
            raise TypeError(f"init of {type(self).__name__} takes {takes}")
        self.vectors = [int(vectors[n]) for n in range(self.bits)]
        self.constant = int(rest[0]) if self.scrambled else 0
        self.i = 0
        self.skip(int(rest[-1]))

    def next(self) -> int:
        found = self.x
        zeros = (~self.i & (self.i + 1)).bit_length() - 1
        self.x ^= self.vectors[min(zeros, self.bits - 1)]
        self.i = (self.i + 1) & ((1 << self.bits) - 1)
        return found

    def skip(self, n: int) -> None:
        self.i = (self.i + n) & ((1 << self.bits) - 1)
        gray, self.x = self.i ^ self.i >> 1, self.constant
        for place, vector in enumerate(self.vectors):
            if gray >> place & 1:
                self.x ^= vector


class ScrambledSobol32(Sobol32):
    """The same, beginning at a constant."""

    scrambled: ClassVar[bool] = True


class Sobol64(Sobol32):
    """The same with 64 bits."""

    bits: ClassVar[int] = 64


class ScrambledSobol64(ScrambledSobol32):
    """The same with 64 bits, beginning at a constant."""

    bits: ClassVar[int] = 64


GENERATORS = {each.__name__: each for each in (
    XORWOW, MRG32k3a, Philox4_32_10, Sobol32, Sobol64, ScrambledSobol32, ScrambledSobol64, Test)}  # fmt: skip
