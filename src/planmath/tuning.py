"""What `autotune` measured: shown, exported, imported and cleared."""

from planmath.core.tuning.record import TuningRecordWarning, clear, export, import_, path, show

__all__ = ["TuningRecordWarning", "clear", "export", "import_", "path", "show"]
