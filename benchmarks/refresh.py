"""What a command writes anew from the cells, or only checks."""

from collections.abc import Mapping
from pathlib import Path

from mmptq.errors import MmptqError
from mmptq.fileio import save_text


def refresh(wanted: Mapping[Path, str], root: Path, check: bool, command: str, what: str) -> None:
    """Write the files whose text is not what it should be, and print their names.

    Args:
        wanted: Text of each file.
        root: Folder to which the printed names are relative.
        check: Write nothing.
        command: Of the benchmarks, which an error names.
        what: Each of the files is, for the line that says that all are up to date.

    Raises:
        MmptqError: With ``check``, a file differs.
    """
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    names = "\n".join(str(path.relative_to(root)) for path in stale)
    if check and stale:
        raise MmptqError(f"run python benchmarks/{command}, these are stale:\n{names}")
    for path in stale:
        save_text(path, wanted[path])
    print(names or f"every {what} is up to date")
