"""What kernels with pipelines are compiled with."""

from typing import Any


class _Pipelines:
    """Lets a `DevicePipeline` be an argument of a kernel."""

    def prepare_args(self, ty: Any, val: Any, stream: Any = 0, retr: Any = None) -> tuple[Any, Any]:
        arguments = getattr(val, "arguments", ())
        return (ty.argument, arguments) if arguments and hasattr(ty, "argument") else (ty, val)


#: For ``cuda.jit(extensions=...)``.
pipeline_extensions = [_Pipelines()]
