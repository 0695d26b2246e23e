"""Where local work between exchanges is done."""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import ITEMSIZE, Layout, Package, contiguous_strides
from planmath.core.collective.exchange import Exchange, Space, Traffic


class Bench(NamedTuple):
    """Where the work is done: in which package's arrays, and in which space."""

    package: Package
    space: Space

    def empty(self, shape: tuple[int, ...], dtype: str, order: tuple[int, ...] | None = None) -> Any:
        """A dense array, with its axes in an order from the slowest to the fastest."""
        of = self.package
        return of.empty(shape, contiguous_strides(shape, order), of.dtype(dtype), self.space.device_id)

    def over(self, owner: Any, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
        """An array over dense memory at an address, which `owner` keeps."""
        of, device_id = self.package, self.space.device_id
        size = prod(shape) * ITEMSIZE[dtype]
        if not size:
            return of.empty(shape, strides, of.dtype(dtype), device_id)
        layout = Layout(shape, strides, dtype, self.space.name, device_id)
        return of.with_strides(of.over(owner, address, size, device_id).view(of.dtype(dtype)), layout)

    def received(self, exchange: Exchange, traffic: Traffic, dtype: str) -> Any:
        """What an exchange leaves in its buffer, as an array."""
        return self.over(exchange, exchange.buffer, traffic.shape, traffic.dense, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """A column-major array of zeros."""
        made = self.empty(shape, dtype, tuple(reversed(range(len(shape)))))
        if 0 not in shape:
            made[...] = 0
        return made

    def copied(self, array: Any) -> Any:
        """A column-major copy."""
        of, shape = self.package, tuple(array.shape)
        strides = contiguous_strides(shape, tuple(reversed(range(len(shape)))))
        made = of.empty(shape, strides, array.dtype, self.space.device_id)
        if 0 not in shape:
            made[...] = array
        return made

    def column_major(self, array: Any) -> Any:
        """An array as a column-major one: a copy, if need be."""
        return np.asfortranarray(array) if isinstance(array, np.ndarray) else self.copied(array)

    def as_index(self, indices: np.ndarray) -> Any:
        """Indices that arrays of the package take."""
        if self.package.name == "torch":
            return import_module("torch").from_numpy(indices).to(self.space.device_id)
        return indices if self.space.device_id is None else import_module(self.package.name).asarray(indices)

    def execution(self, threads: int) -> dict[str, Any]:
        """Where local operations are computed."""
        if self.space.device_id is None:
            return {"name": "cpu", "num_threads": threads}
        return {"name": "cuda", "device_id": self.space.device_id}
