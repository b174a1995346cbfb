"""How long tasks have waited for CPU, memory and I/O since boot (docs.kernel.org/accounting/psi.html)."""

from service.host.source import KeptOpen
from service.records import Reading

_FOLDER = "/proc/pressure"


class Pressure:
    """The totals of the lines "some", in microseconds."""

    def __init__(self, folder: str = _FOLDER) -> None:
        self._files = {f"{name}_pressure": KeptOpen(f"{folder}/{name}", b"\n") for name in ("cpu", "memory", "io")}

    def read(self) -> Reading:
        """Empty where the kernel has no PSI, which is no error.

        :raises IndexError: if there is no total.
        """
        texts = {name: file.read() for name, file in self._files.items()}
        totals = {name: _total(text) for name, text in texts.items() if text is not None}
        return Reading(pressure_us=totals)


def _total(text: bytes) -> int:
    some = text.split(b"\n", 1)[0]
    return int(some.rsplit(b"total=", 1)[1])
