"""Tensors in any format."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, dtype_name, package_named
from planmath.core.errors import nearest
from planmath.core.pickling import deep_copy
from planmath.sparse.ust import files, packages, pattern, shortcuts, text
from planmath.sparse.ust.conversion import Arrays, expand, pack
from planmath.sparse.ust.elementwise import mapped
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.values import added, converted, nonzero

INDEX_TYPES = ("int8", "int16", "int32", "int64")


class Tensor:
    """A sparse or dense tensor in any format.

    `from_package` and `from_file` make tensors with values; the constructor makes one without.

    Parameters
    ----------
    extents : sequence of int
        The extent of each dimension.
    tensor_format : TensorFormat
    index_type : {'int32', 'int64', 'int16', 'int8'}
    dtype : str
        Of the values.
    package : {'numpy', 'cupy', 'torch'}, optional
        Whose arrays it is to hold. Default: NumPy's.
    options, stream : object, optional
        Without effect.

    Raises
    ------
    TypeError
        If the format is none, or has another number of dimensions.
    ValueError
        If an extent is negative, or a dtype does not exist.
    NotImplementedError
        If the blocks of the format do not divide the extents.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.sparse import ust
    >>> a = ust.Tensor.from_package(sp.csr_array(np.array([[0.0, 2, 0], [1, 0, 3]])))
    >>> a.tensor_format.name, a.nse, a.get_value([1, 2])
    ('CSR', 3, 3.0)
    >>> columns = a.convert(tensor_format=ust.NamedFormats.CSC)
    >>> columns.pos(1), columns.crd(1), columns.val
    (array([0, 1, 2, 3], dtype=int32), array([1, 0, 1], dtype=int32), array([1., 2., 3.]))
    >>> columns.to_package().toarray()
    array([[0., 2., 0.],
           [1., 0., 3.]])
    """

    def __init__(
        self,
        extents: Sequence[int],
        *,
        tensor_format: TensorFormat | None = None,
        index_type: str = "int32",
        dtype: str = "float32",
        package: str | None = None,
        options: Any = None,
        stream: Any = None,
    ):
        if not isinstance(tensor_format, TensorFormat):
            raise TypeError(f"tensor_format is a {type(tensor_format).__name__}; expected a TensorFormat")
        shape = tuple(extents)
        if len(shape) != tensor_format.num_dimensions:
            raise TypeError(
                f"extents is {shape}; expected {tensor_format.num_dimensions} for the format {tensor_format.name}"
            )
        for extent in shape:
            if not isinstance(extent, int | np.integer) or isinstance(extent, bool) or extent < 0:
                raise ValueError(f"extents is {shape}; expected ints that are not negative")
        self._extents = [int(extent) for extent in shape]
        self._format = tensor_format
        self._levels = [int(size) for size in tensor_format.dim2lvl(self._extents, as_size=True)]
        self._index_type = _index_type(index_type)
        self._dtype = _dtype(dtype)
        self._package = package_named(package or "numpy").name
        self._kind = ""
        self._base: Any = None  # not itself, which only the collector would find: large arrays are to go at once
        self._arrays: Arrays | None = None
        self._kernel: tuple[Callable[..., Any], bool] | None = None

    @classmethod
    def _of(
        cls, extents: Sequence[int], form: TensorFormat, arrays: Arrays, package: str, kind: str = "", base: Any = None
    ) -> Tensor:
        indices = next((x for x in (*arrays.pos, *arrays.crd) if x is not None), None)
        largest = max(extents, default=0)
        index_type = _name(indices) if indices is not None else "int32" if largest < 2**31 else "int64"
        made = cls(extents, tensor_format=form, index_type=index_type, dtype=_name(arrays.val), package=package)
        made._arrays, made._kind, made._base = arrays, kind, base
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        memo[id(self)] = made = object.__new__(type(self))
        if hasattr(self._base, "grad_fn"):  # whose arrays are found anew: PyTorch does not tell that they are the same
            vars(made).update(vars(self) | vars(type(self).from_package(deep_copy(self._base, memo))))
            made._kernel = self._kernel
        else:
            vars(made).update(copy.deepcopy(vars(self), memo))
        return made

    # From packages and files, and back.

    @classmethod
    def from_package(cls, tensor: Any, stream: Any = None) -> Tensor:
        """A tensor over the arrays of another package's: nothing is copied, and what is written is seen by both.

        Parameters
        ----------
        tensor : sparse matrix or array
            Of SciPy or CuPy (CSR, CSC, COO, BSR, DIA; diagonals shorter or longer than the matrix is wide are copied),
            a torch.Tensor of any layout, with batches and dense dimensions, or a dense array of NumPy, CuPy or PyTorch
            without gaps. Entries that are unsorted, or come twice, give a format whose levels say so.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError
            If it is none of these, or its values or indices are of a dtype that a tensor cannot have.
        ValueError
            If its index arrays are inconsistent or of different types, or an array has gaps.
        """
        found = packages.read(tensor)
        index_types = {_name(x) for x in (*found.arrays.pos, *found.arrays.crd) if x is not None}
        if len(index_types) > 1:
            raise ValueError(f"tensor has indices of {' and '.join(sorted(index_types))}; bring them to one type")
        if not index_types.issubset(INDEX_TYPES):
            raise TypeError(
                f"tensor has indices of {index_types.pop()}; expected one of {', '.join(INDEX_TYPES)}: convert its "
                "index arrays with astype()"
            )
        form = pattern.described(found.format, found.extents, found.arrays)
        return cls._of(found.extents, form, found.arrays, found.package, found.kind, tensor)

    def to_package(self, options: Any = None, stream: Any = None) -> Any:
        """The tensor as an object of the package whose arrays it holds, over the same arrays.

        That is SciPy for NumPy's. A tensor that came from a package gives an object of the same kind, a dense one the
        very object.

        Parameters
        ----------
        options, stream : object, optional
            Without effect.

        Raises
        ------
        NotImplementedError
            If the package has nothing of this format.
        """
        arrays = self._filled()
        if packages.is_dense(self._format) and self._base is not None:
            return self._base
        return packages.write(self._package, tuple(self._extents), self._format, arrays, self._kind)

    @classmethod
    def from_file(cls, filename: Any, stream: Any = None) -> Tensor:
        """A tensor from a file: ``.mtx`` (Matrix Market), or ``.tns`` (FROSTT: indices from 1, then the value).

        Parameters
        ----------
        filename : str or path
        stream : object, optional
            Without effect.

        Returns
        -------
        Tensor
            In COO format, sorted, what comes twice summed: of int32 indices from ``.mtx``, of int64 from ``.tns``,
            whose extents are the largest indices.

        Raises
        ------
        TypeError
            If the name ends otherwise.
        FileNotFoundError, ValueError
            If there is no such file, or it cannot be read.
        """
        extents, indices, values, index_type = files.read(filename)
        form = packages.N.COO if len(extents) == 2 else packages.N.COOd(len(extents))
        return cls._of(extents, form, pack(form, extents, indices, values, index_type, added), "numpy")

    def convert(
        self,
        *,
        tensor_format: TensorFormat | None = None,
        index_type: str | None = None,
        dtype: str | None = None,
        copy: bool | None = None,
        keep_zeros: bool = False,
        stream: Any = None,
    ) -> Tensor:
        """The tensor in another format, with other indices, or with values of another dtype.

        Parameters
        ----------
        tensor_format : TensorFormat, optional
        index_type, dtype : str, optional
            Default: as they are.
        copy : bool, optional
            Whether all arrays are to be new ones. Default: the tensor itself where nothing changes, and arrays that are
            the same in both formats are shared, as the values of CSR and COO.
        keep_zeros : bool
            Whether stored zeros, padding included, stay entries. Default: another format drops them.
        stream : object, optional
            Without effect.

        Returns
        -------
        Tensor
            With arrays of the same package, in the same place. What comes twice is summed.

        Raises
        ------
        TypeError
            If the format has another number of dimensions, or complex values were to become real ones.
        ValueError
            If the format has no room for the entries, or the index type for the indices.
        NotImplementedError
            If the blocks of the format do not divide the extents.
        """
        form = self._format if tensor_format is None else tensor_format
        if not isinstance(form, TensorFormat):
            raise TypeError(f"tensor_format is a {type(form).__name__}; expected a TensorFormat")
        if form.num_dimensions != self.num_dimensions:
            raise TypeError(
                f"tensor_format is {form.name} with {form.num_dimensions} dimensions; expected {self.num_dimensions}"
            )
        indices = self._index_type if index_type is None else _index_type(index_type)
        values = self._dtype if dtype is None else _dtype(dtype)
        if values != self._dtype and self._dtype.startswith("complex") and not values.startswith("complex"):
            raise TypeError(f"dtype is {values} and the tensor's {self._dtype}; take its real part first")
        arrays = self._filled()
        if form == self._format and indices == self._index_type:
            if values == self._dtype:
                return self.clone() if copy else self
            kept = arrays._replace(val=converted(self._package, arrays.val, values))
            return self._of(self._extents, form, kept, self._package, self._kind)
        form.dim2lvl(self._extents, as_size=True)  # raises where blocks do not divide
        host = self._on_host()
        if form == self._format or (keep_zeros and form.is_loose_of(self._format)):
            made = pattern.cast(form, self._extents, host, indices)
        else:
            shorter = shortcuts.convert(self._format, form, self._extents, host, indices, keep_zeros, self._dtype)
            made = self._converted(form, host, indices, keep_zeros) if shorter is None else shorter
        if copy:
            shared = {id(x) for x in (*host.pos, *host.crd, host.val)}
            made = made.each(lambda x: x.copy() if id(x) in shared else x)
        back = self._back(made)
        if values != self._dtype:
            back = back._replace(val=converted(self._package, back.val, values))
        return self._of(self._extents, form, back, self._package)

    def _converted(self, form: TensorFormat, host: Arrays, index_type: str, keep_zeros: bool) -> Arrays:
        entries = expand(self._format, self._extents, host)
        values, index = host.val, entries.indices
        if entries.places is not None:
            values = values[entries.places]
        if not keep_zeros:
            kept = nonzero(values, self._dtype)
            if not kept.all():
                values, index = values[kept], [i[kept] for i in index]
        add = added if host.val.dtype == self._dtype else self._added_bits
        return pack(form, self._extents, index, values, index_type, add)

    def _added_bits(self, array: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
        """Sum values of a dtype that NumPy lacks, given as bits, in single precision."""
        import torch

        dtype = getattr(torch, self._dtype)
        sums = torch.zeros(len(array), dtype=torch.float32)
        sums.index_add_(0, torch.from_numpy(places), torch.from_numpy(values).view(dtype).float())
        array[:] = packages.to_host(sums.to(dtype))

    def _back(self, made: Arrays) -> Arrays:
        """Arrays of NumPy's as those of the tensor's package, where its own ones are."""
        like = self._filled().val
        put = made.each(lambda x: packages.put_like(x, like))
        return put._replace(val=put.val.view(like.dtype)) if self._package == "torch" else put

    # What it is.

    @property
    def extents(self) -> list[int]:
        return self._extents

    @property
    def shape(self) -> list[int]:
        """The extents."""
        return self._extents

    @property
    def levels(self) -> list[int]:
        """The size of each level."""
        return self._levels

    @property
    def size(self) -> int:
        """How many elements it has, stored or not."""
        return math.prod(self._extents)

    @property
    def num_dimensions(self) -> int:
        return len(self._extents)

    @property
    def num_levels(self) -> int:
        return len(self._levels)

    @property
    def tensor_format(self) -> TensorFormat:
        return self._format

    @property
    def index_type(self) -> str:
        return self._index_type

    @property
    def dtype(self) -> str:
        return self._dtype

    @property
    def package(self) -> str:
        """The package whose arrays it holds: 'numpy', 'cupy' or 'torch'."""
        return self._package

    @property
    def device(self) -> str:
        """'cpu' or 'cuda'."""
        return "cpu" if self.device_id == "cpu" else "cuda"

    @property
    def device_id(self) -> int | str:
        """'cpu', or the number of the device."""
        if self._arrays is None or self._package == "numpy":
            return "cpu"
        device = self._arrays.val.device
        if self._package == "cupy":
            return device.id
        return "cpu" if device.type == "cpu" else device.index

    @property
    def nse(self) -> int:
        """How many elements are stored, padding included."""
        return 0 if self._arrays is None else int(math.prod(self._arrays.val.shape))

    @property
    def val(self) -> Any:
        """The values in the order of storage: an array of one axis of the package."""
        return None if self._arrays is None else self._arrays.val

    @property
    def base(self) -> Any:
        """The object that it came from, or itself."""
        return self if self._base is None else self._base

    def pos(self, level: int) -> Any:
        """Where the segments of a level begin and the last one ends; None where it has none."""
        return None if self._arrays is None else self._arrays.pos[self._checked_level(level)]

    def crd(self, level: int) -> Any:
        """The coordinates of a level; None where it has none."""
        return None if self._arrays is None else self._arrays.crd[self._checked_level(level)]

    def _checked_level(self, level: int) -> int:
        if not isinstance(level, int) or not 0 <= level < self.num_levels:
            raise ValueError(f"level is {level!r}; expected 0 to {self.num_levels - 1}")
        return level

    def _filled(self) -> Arrays:
        if self._arrays is None:
            raise ValueError("the tensor has no values; make it with Tensor.from_package or Tensor.from_file")
        return self._arrays

    def get_value(self, indices: Sequence[int], stream: Any = None) -> Any:
        """The value of an element, as a number of Python's, or None where nothing is stored.

        Parameters
        ----------
        indices : sequence of int
            One for each dimension, from 0.
        stream : object, optional
            Without effect.

        Raises
        ------
        ValueError
            If there are more or fewer indices than dimensions.
        IndexError
            If one is out of range.
        """
        if len(indices) != self.num_dimensions:
            raise ValueError(f"indices is {indices!r}; expected {self.num_dimensions} of them")
        for index, extent in zip(indices, self._extents, strict=True):
            if not 0 <= index < extent:
                raise IndexError(f"indices is {indices!r}; expected 0 to {[n - 1 for n in self._extents]}")
        arrays = self._filled()
        places = pattern.places_of(self._format, self._extents, arrays, [int(i) for i in indices])
        if not len(places):
            return None
        found = [arrays.val[int(place)].item() for place in places]
        return found[0] if len(found) == 1 else sum(found)

    # Copies.

    def clone(self, stream: Any = None) -> Tensor:
        """A tensor with copies of all arrays."""
        copy = (lambda x: x.clone()) if self._package == "torch" else (lambda x: x.copy())
        return self._with(copy)

    def _with(self, function: Callable[[Any], Any], package: str | None = None) -> Tensor:
        made = self._filled().each(function)
        other = self._of(self._extents, self._format, made, package or self._package, self._kind)
        other._kernel = self._kernel
        return other

    def to(self, device_id: int | str, stream: Any = None) -> Tensor:
        """The tensor in another place; in the same one a new object over the same arrays.

        Parameters
        ----------
        device_id : int or 'cpu'
            NumPy's arrays become CuPy's on a device, and CuPy's become NumPy's on the CPU.
        stream : object, optional
            Without effect.
        """
        if device_id != "cpu" and (not isinstance(device_id, int) or isinstance(device_id, bool) or device_id < 0):
            raise ValueError(f"device_id is {device_id!r}; expected 'cpu' or the number of a device")
        if device_id == self.device_id:
            return self._with(lambda x: x)
        if self._package == "torch":
            return self._with(lambda x: x.to("cpu" if device_id == "cpu" else f"cuda:{device_id}"))
        if device_id == "cpu":
            return self._with(lambda x: x.get(), "numpy")
        try:
            import cupy
        except ImportError:
            raise NotImplementedError(
                "NumPy's arrays go to a device as CuPy's, which is not installed; use torch tensors"
            ) from None
        with cupy.cuda.Device(device_id):
            return self._with(cupy.asarray, "cupy")

    def copy_(self, src: Tensor, stream: Any = None) -> None:
        """Take over the contents of a tensor of the same extents, format, types and number of entries.

        Raises
        ------
        TypeError, ValueError
            If it is none.
        """
        if not isinstance(src, Tensor):
            raise TypeError(f"src is a {type(src).__name__}; expected a Tensor")
        here, there = self._filled(), src._filled()
        for name in ("extents", "tensor_format", "index_type", "dtype", "nse", "package"):
            if getattr(self, name) != getattr(src, name):
                raise ValueError(f"src has the {name} {getattr(src, name)}; expected {getattr(self, name)}")
        both = zip((*here.pos, *here.crd, here.val), (*there.pos, *there.crd, there.val), strict=True)
        pairs = [(mine, other) for mine, other in both if mine is not None]
        if any(tuple(mine.shape) != tuple(other.shape) for mine, other in pairs):
            raise ValueError("src has index arrays of other lengths")
        for mine, other in pairs:
            mine[...] = other

    # Functions of values.

    def set_kernel(self, user_code: Callable[..., Any], *, with_indices: bool = True, arch: Any = None) -> None:
        """Choose the function that `run_kernel` applies to every stored value.

        Parameters
        ----------
        user_code : callable
            Of a value, or of a value and the indices of its dimensions, returning the new value. It may take arrays;
            else it is compiled by Numba where that is installed, or called for each value.
        with_indices : bool
        arch : object, optional
            Without effect on the CPU.
        """
        if not callable(user_code):
            raise TypeError(
                f"user_code is a {type(user_code).__name__}; expected a Python function (compiled code is for devices)"
            )
        self._kernel = user_code, bool(with_indices)

    def run_kernel(self, stream: Any = None) -> None:
        """Replace every stored value by what the function of `set_kernel` makes of it.

        The values of a tensor on a device come to the host for that, and go back.
        """
        if self._kernel is None:
            raise ValueError("run_kernel() needs a function; call set_kernel() first")
        arrays = self._filled()
        function, with_indices = self._kernel
        values = packages.to_host(arrays.val)
        if values.dtype != self._dtype:
            raise NotImplementedError(f"functions of {self._dtype} are not available; convert the tensor to float32")
        places: Any = slice(None)
        indices: list[np.ndarray] = []
        if with_indices:
            entries = expand(self._format, self._extents, self._on_host())
            indices = entries.indices
            places = places if entries.places is None else entries.places
        values[places] = mapped(function, values[places], *indices)
        if self.device == "cuda":
            arrays.val[...] = packages.put_like(values, arrays.val)

    def _on_host(self) -> Arrays:
        return self._filled().each(packages.to_host)

    # What it tells.

    def explain(self) -> str:
        """The levels in words, what they take in memory and how much of that is padding, and the loops over them.

        Examples
        --------
        >>> import numpy as np
        >>> from planmath.sparse import ust
        >>> a = ust.Tensor.from_package(np.diag([1.0, 2, 3])).convert(tensor_format=ust.NamedFormats.CSR)
        >>> print(a.explain())
        CSR, 3x3 of float64 with int32 indices: 3 elements stored of 9, 52 bytes
        level 0, i: dense, 3 of them
        level 1, j: compressed, 3 coordinates; pos 16 bytes, crd 12 bytes
        values: 24 bytes, 0 % of them zeros
        for i in 0 to 3:
            for p in pos[1][i] to pos[1][i + 1], j = crd[1][p]:
                use val[p] at (i, j)
        """
        return text.explained(self, self._on_host())

    def __str__(self) -> str:
        return text.described(self, None if self._arrays is None else self._on_host())

    def __repr__(self) -> str:
        shape = "x".join(map(str, self._extents)) or "1"
        return f"<ust.Tensor {self._format.name}, {shape} of {self._dtype}, {self.nse} elements stored>"

    # Pictures.

    def draw(self, name: Any = None, stream: Any = None) -> Any:
        """The tensor as a picture, what is stored coloured; of up to three dimensions.

        Parameters
        ----------
        name : str or path, optional
            Where to save it.
        stream : object, optional
            Without effect.

        Returns
        -------
        PIL.Image.Image
        """
        from planmath.sparse.ust import drawing

        return drawing.draw(self, name)

    def draw_storage(self, name: Any = None, stream: Any = None) -> Any:
        """The arrays of all levels and the values as a picture; arguments and result as for `draw`."""
        from planmath.sparse.ust import drawing

        return drawing.draw_storage(self, name)

    def draw_raw(self, name: Any = None, stream: Any = None) -> Any:
        """Each element as one pixel, for large tensors of two or three dimensions; as `draw` otherwise."""
        from planmath.sparse.ust import drawing

        return drawing.draw_raw(self, name)

    def animate(self, name: Any = None, stream: Any = None) -> Any:
        """The slices of a tensor of three dimensions in turn, as a GIF, or as HTML where no name is given."""
        from planmath.sparse.ust import drawing

        return drawing.animate(self, name)


def _name(array: Any) -> str:
    return _named(array.dtype)


@cache
def _named(dtype: Any) -> str:
    """The name of a dtype object, which NumPy takes microseconds to put together."""
    return str(dtype).removeprefix("torch.")


def _index_type(name: Any) -> str:
    if name not in INDEX_TYPES:
        raise ValueError(f"index_type is {name!r}: {nearest(name, INDEX_TYPES)}")
    return name


def _dtype(name: Any) -> str:
    text = str(name).removeprefix("torch.")
    if text[:1] in "<>":
        raise TypeError(
            f"tensor has values of the byte order of another machine ({text}); convert them with astype({text[1:]!r})"
        )
    if text in ITEMSIZE or text in ("bool", "longdouble", "clongdouble", "float128", "complex256"):
        return text
    try:
        return dtype_name(name)
    except TypeError:
        raise ValueError(f"dtype is {name!r}: {nearest(name, ITEMSIZE)}") from None

