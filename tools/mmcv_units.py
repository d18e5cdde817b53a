"""Join mmcv's C++ sources into a few compilation units.

Nearly all of the twenty seconds that the compiler spends on each of mmcv's eighty small files go
into torch's headers. A unit that includes many files reads the headers once. Files that define a
name twice between them stay in different units, so the code that is compiled is the same.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Folders, below mmcv's source tree, whose every *.cpp mmcv's setup.py compiles.
FOLDERS = ("mmcv/ops/csrc/pytorch", "mmcv/ops/csrc/pytorch/cpu")
# What a file costs beside its own characters: pybind11's templates, which pybind.cpp alone unfolds.
_HEAVY = {"pybind.cpp": 8}

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.M)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\'')
_NAMESPACE = re.compile(r"\bnamespace\b[\w\s:]*$")
_FUNCTION = re.compile(r"(\w+)\s*\((?:[^()]|\([^()]*\))*\)\s*(?:const\s*|noexcept\s*)*$")
_TYPE = re.compile(r"\b(?:struct|class|union|enum)\s+(?:class\s+)?(\w+)[^;()]*$")
_ALIAS = re.compile(r"\busing\s+namespace\s+(\w+)|\busing\s+(\w+)\s*=|\btypedef\b[^;]*?(\w+)\s*;")

_OPENED = re.compile(r"^\s*using\s+namespace\b", re.M)


def defined_names(code: str) -> set[str]:
    """Names that a C++ file defines where another file of the same unit would see them.

    Functions, types and aliases at the top or in any namespace, overloads not told apart: more
    than what clashes, never less as far as mmcv's sources go. A unit that clashes all the same does
    not compile, so nothing wrong can come of a name that is missed.
    """
    code = _COMMENT.sub(" ", code)
    names: set[str] = set()
    for statement, has_body in _statements(_STRING.sub('""', _DIRECTIVE.sub(" ", code))):
        found = (_FUNCTION.search(statement) or _TYPE.search(statement)) if has_body else None
        if found:
            names.add(found[1])
        names.update(next(filter(None, groups)) for groups in _ALIAS.findall(statement))
    return names


def defined_macros(code: str) -> list[str]:
    """Macros that a C++ file defines, each once."""
    return sorted(set(_MACRO.findall(_COMMENT.sub(" ", code))))


def _statements(code: str) -> Iterator[tuple[str, bool]]:
    """Each statement outside of all bodies, namespaces apart, and whether a body follows it."""
    start = 0
    # One entry for each open brace: whether it opens a namespace.
    open_braces: list[bool] = []
    for position, letter in enumerate(code):
        outside = all(open_braces)
        if letter == "{":
            head = code[start:position]
            is_namespace = outside and _NAMESPACE.search(head) is not None
            if outside and not is_namespace:
                yield head, True
            open_braces.append(is_namespace)
        elif letter == "}" and open_braces:
            open_braces.pop()
        elif letter == ";" and outside:
            yield code[start : position + 1], False
        if letter in "{};" and all(open_braces):
            start = position + 1


@dataclass
class _Unit:
    files: list[Path] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    weight: int = 0

    def add(self, file: Path, names: set[str], weight: int) -> None:
        self.files.append(file)
        self.names |= names
        self.weight += weight


def divide(files: dict[Path, str], units: int) -> list[list[Path]]:
    """Files in at least ``units`` groups of about the same weight, none with a name twice.

    Args:
        files: Each file's text.
        units: How many groups; more where names clash too often.
    """
    groups = [_Unit() for _ in range(units)]
    weights = {file: len(text) * _HEAVY.get(file.name, 1) for file, text in files.items()}
    for file in sorted(files, key=lambda file: (-weights[file], str(file))):
        names = defined_names(files[file])
        fitting = [group for group in groups if not group.names & names]
        if not fitting:
            groups.append(_Unit())
            fitting = groups[-1:]
        min(fitting, key=lambda group: group.weight).add(file, names, weights[file])
    # A file that opens a namespace must not open it for the files after it.
    return [
        sorted(group.files, key=lambda file: (bool(_OPENED.search(files[file])), file))
        for group in groups
        if group.files
    ]


def join(root: Path, units: int) -> int:
    """Make mmcv's source tree compile in units. Call once per tree.

    Each file is renamed to ``*.cpp.part``, where setup.py does not look for it and what it
    includes is still beside it, and is included by one ``unit_N.cpp``, which forgets its macros.

    Args:
        root: The unpacked source distribution.
        units: Wanted number of units.

    Returns:
        How many units there are now; 0 where the tree holds nothing to join.
    """
    folders = [root / folder for folder in FOLDERS]
    files = {
        path: path.read_text(encoding="utf-8", errors="replace")
        for folder in folders
        for path in sorted(folder.glob("*.cpp"))
    }
    groups = divide(files, units) if files else []
    for number, group in enumerate(groups):
        unit = folders[0] / f"unit_{number}.cpp"
        with unit.open("w", encoding="utf-8") as stream:
            for path in group:
                stream.write(f'#include "{path.relative_to(folders[0])}.part"\n')
                stream.writelines(f"#undef {macro}\n" for macro in defined_macros(files[path]))
    for path in files:
        path.rename(path.with_name(path.name + ".part"))
    return len(groups)
