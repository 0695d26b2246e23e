"""The solver that a stateless call leaves to the next one of its kind."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

from planmath.core import remembered
from planmath.core.slots import ArraySlot, commit
from planmath.linalg.solver.operation import LARGE, DirectSolver


class SingleUse(DirectSolver):
    """The solver of a stateless call, which the next call of the same kind takes over.

    Whoever has it has it alone, and frees it where something goes wrong, so that it takes shorter ways.
    """

    #: The operands' slots, of which none is bound then.
    _bare: Mapping[ArraySlot, None] = MappingProxyType({})

    def once_more(self, a: Any, b: Any, key: Hashable, stream: Any) -> Any:
        """Solve for other operands, and leave this object to the next call of this key."""
        try:
            self.take_up(a, b)
            found = self.execute(stream)
        except BaseException:
            self.free()
            raise
        self._drop_operands()
        remembered.put(key, self)
        return found

    def take_up(self, a: Any, b: Any) -> None:
        """Bind single arrays."""
        solver = self._executor.solver
        if solver is not None and solver.bind_many((a, None, b)):
            self._has_operands = True
        else:
            self.reset_operands(a=a, b=b)

    def execute(self, stream: Any = None) -> Any:
        """Factorize and solve."""
        if stream is None and self._executor.factorize_at_once():
            found = self._executor.solve_at_once("N", None)
            if found is not None:
                return found
            self._factorized = True
        else:
            self.factorize(stream=stream)
        return self.solve(stream=stream)

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        if stores or self._executor.seen is not None or not self._bare:
            super()._drop_operands(*stores)
            self._bare = dict.fromkeys(self._slots.values())
            return
        commit(self._bare)
        self._has_operands = self._factorized = False
        if self._slots["b"].high > LARGE:
            self._executor.release_results()
