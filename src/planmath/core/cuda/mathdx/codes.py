"""Pieces of code for devices, and what they are made for."""

from __future__ import annotations

from typing import NamedTuple


class ComputeCapability(NamedTuple):
    """A device's compute capability, such as 9.0.

    Parameters
    ----------
    major, minor : int
    arch : {'', 'a', 'f'}
        The set of features: those of every device from this one on, of this architecture alone, or of its family.
    """

    major: int
    minor: int
    arch: str = ""

    @property
    def integer(self) -> int:
        """As libmathdx writes it: 900 for 9.0."""
        return self.major * 100 + self.minor * 10

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}{self.arch}"


class ISAVersion(NamedTuple):
    """The version of the instruction set that a piece of code is written in."""

    major: int
    minor: int

    @classmethod
    def from_integer(cls, isa: int) -> ISAVersion:
        """From libmathdx's number.

        Examples
        --------
        >>> ISAVersion.from_integer(13050)
        ISAVersion(major=13, minor=5)
        """
        return cls(isa // 1000, isa % 1000 // 10)


class CodeType(NamedTuple):
    """A kind of code (``"lto"``, LTO-IR, is the one that there is) and the compute capability that it is for."""

    kind: str
    cc: ComputeCapability


class Code(NamedTuple):
    """Compiled code.

    Parameters
    ----------
    code_type : CodeType
    isa_version : ISAVersion
    data : bytes
    """

    code_type: CodeType
    isa_version: ISAVersion
    data: bytes
