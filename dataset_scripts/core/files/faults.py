"""The handling of rows that cannot be read: an error, or a line in a list."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dataset_scripts.core.errors import DataError, is_disk_fault, printable, printable_logger, reason

logger = printable_logger(__name__)


class Faults:
    """`with faults:` around the reading of one row lets its exception pass, or records it and continues.

    This applies to any exception: a parser may fail in unforeseen ways. But a full disk is never the fault of a row.

    Attributes:
        skip: whether to continue.
        path: the file that lists the skipped rows, one per line; None only logs them. Worker processes share it.
        said: what was skipped in this process.
    """

    notes: list[str] | None = None

    def __init__(self, on_error: str, path: Path | None):
        if on_error not in ("raise", "skip"):
            raise DataError(
                f"on_error={on_error!r} should be 'raise' (stop at the first fault) or 'skip' (list them and go on)"
            )
        self.skip = on_error == "skip"
        self.path = path
        self.said: list[str] = []
        if path is not None:
            path.unlink(missing_ok=True)

    def __enter__(self) -> "Faults":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        if not (self.skip and isinstance(error, Exception)) or is_disk_fault(error) or is_disk_fault(error.__cause__):
            return False
        self.note(str(error) if isinstance(error, DataError) else reason(error))
        return True

    def note(self, message: str) -> None:
        self.said.append(message)
        if self.notes is not None:
            self.notes.append(message)
        elif self.path is None:
            logger.warning("skipped: %s", message)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as file:
                file.write((printable(message) + "\n").encode())  # one write: lines of processes don't mix

    @classmethod
    def gathered(cls) -> "Faults":
        """Continues, and keeps the faults in `notes` until the path of the list is known."""
        faults = cls("skip", None)
        faults.notes = []
        return faults

    @staticmethod
    def report(path: Path) -> None:
        """Logs how much was skipped according to the list at `path`, even for a dataset that was built earlier."""
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            logger.warning("%d skipped, such as: %s; all are listed in %s", len(lines), lines[0], path)


def readable(faults: Faults, items: Iterable[Any], read: Callable[[Any], Any]) -> list[Any]:
    """The result of `read` for each file; `on_error="skip"` leaves out those with a DataError, if others remain.

    Raises:
        DataError: the last fault, if there is nothing else.
    """
    found, fault = [], None
    for item in items:
        with faults:
            try:
                found.append(read(item))
            except DataError as error:
                fault = error
                raise
    if fault and not found:
        raise fault
    return found
