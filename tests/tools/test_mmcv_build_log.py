"""The reader of pip's output, on lines that pip, ninja, distutils and compilers really print."""

import io

import pytest
from mmcv_build_log import BuildProgress, Display, first_errors, hint_for

COMPILE = (
    "c++ -MMD -MF /tmp/b/mmcv/ops/csrc/pytorch/{0}.o.d -O3 -Wall -fPIC -I/usr/include/python3.11 "
    "-c -c /tmp/w/mmcv/ops/csrc/pytorch/{0}.cpp -o /tmp/b/mmcv/ops/csrc/pytorch/{0}.o -std=c++17"
)
LINK = (
    "  g++ -shared -Wl,-rpath,/lib /tmp/b/nms.o -L/torch/lib -lc10 "
    "-o build/lib.linux-x86_64-cpython-311/mmcv/_ext.cpython-311-x86_64-linux-gnu.so"
)


def feed(lines: list[str], seconds: float = 1.0) -> tuple[BuildProgress, list[str]]:
    progress, phases = BuildProgress(), []
    for i, line in enumerate(lines):
        progress.feed(line + "\n", i * seconds)
        if not phases or phases[-1] != progress.phase:
            phases.append(progress.phase)
    return progress, phases


def test_phases_of_a_whole_build() -> None:
    progress, phases = feed(
        [
            "Collecting mmcv==2.1.0",
            "  Downloading mmcv-2.1.0.tar.gz (471 kB)",
            "  Preparing metadata (setup.py): started",
            "  running build_py",
            "  building 'mmcv._ext' extension",
            "  [1/2] " + COMPILE.format("nms"),
            "  /tmp/w/nms.cpp:7: warning: [3/9] is not a count of ours",
            "  [2/2] " + COMPILE.format("roi_align"),
            LINK,
            "  installing to build/bdist.linux-x86_64/wheel",
            "  adding 'mmcv/__init__.py'",
            "Installing collected packages: mmcv",
        ]
    )
    assert phases == [
        "starting", "downloading", "reading metadata", "compiling", "linking", "packing",
        "installing",
    ]  # fmt: skip
    assert (progress.done, progress.total) == (2, 2)


def test_wheel_from_the_cache_compiles_nothing() -> None:
    progress, _ = feed(
        [
            "Collecting mmcv==2.1.0",
            "  Using cached mmcv-2.1.0-cp311-cp311-linux_x86_64.whl",
            "Installing collected packages: mmcv",
        ]
    )
    assert progress.compiling_since is None


def test_time_left_is_proportional() -> None:
    progress = BuildProgress()
    progress.feed("  building 'mmcv._ext' extension", 100.0)
    progress.feed("  [3/16] " + COMPILE.format("nms"), 130.0)
    assert progress.seconds_left(130.0) == pytest.approx(progress.expected() - 30.0)
    progress.feed("  [4/16] " + COMPILE.format("roi_align"), 140.0)
    # 4 files in 40 s: 12 more take 120 s, of which 5 have passed.
    assert progress.seconds_left(145.0) == pytest.approx(115.0)
    assert progress.describe(145.0) == (
        "mmcv: compiling [#####...............]  25% 4/16 files, 0:45 so far, 1:55 left"
    )
    assert progress.seconds_left(1000.0) == 0.0


def test_joined_units_are_too_few_to_extrapolate() -> None:
    progress = BuildProgress(joined=True)
    assert progress.expected() < BuildProgress().expected()
    progress.feed("  building 'mmcv._ext' extension", 100.0)
    progress.feed("  [3/4] " + COMPILE.format("unit_2"), 110.0)
    assert progress.seconds_left(110.0) == pytest.approx(progress.expected() - 10.0)
    assert progress.seconds_left(1000.0) is None


def test_counts_objects_where_ninja_is_missing() -> None:
    lines = ["building 'mmcv._ext' extension"]
    lines += [COMPILE.format(name) for name in ("nms", "nms", "roi_align")]
    progress, _ = feed(lines)
    assert (progress.done, progress.total) == (2, 0)
    assert progress.seconds_left(9.0) is None
    assert "2 files" in progress.describe(9.0)


@pytest.mark.parametrize(
    ("log", "fix"),
    [
        ("ModuleNotFoundError: No module named 'pkg_resources'", "'setuptools>=77,<80'"),
        ("OSError: CUDA_HOME environment variable is not set.", "CUDA_VISIBLE_DEVICES= pip me"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "MAX_JOBS=1 pip me"),
        ("error: [Errno 28] No space left on device", "TMPDIR"),
        ("torch/csrc/python_headers.h:12:10: fatal error: Python.h: No such file", "python3-dev"),
        ("error: command 'g++' failed: No such file or directory", "apt-get install g++"),
        ("error: command '/usr/bin/x86_64-linux-gnu-g++' failed: No such file", "install g++"),
        ("/bin/sh: 1: c++: not found", "apt-get install g++"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'c++'", "install g++"),
        ("ERROR: No matching distribution found for mmcv==2.1.0", "index"),
        ("error: something nobody has met", "not known"),
    ],
)
def test_hints(log: str, fix: str) -> None:
    assert fix in hint_for(f"begin\n{log}\nend", "pip me")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_display_of_a_log_is_sparse_and_announces_the_wait() -> None:
    stream = io.StringIO()
    display, progress = Display(stream, interval=30.0), BuildProgress()
    for second in range(61):
        progress.feed(f"  [{second + 1}/100] " + COMPILE.format("nms"), float(second))
        display.show(progress, float(second))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("compiling mmcv's operators once: about ")
    assert [line.split("%")[0].split()[-1] for line in lines[1:]] == ["1", "31", "61"]


def test_display_on_a_terminal_moves_one_line() -> None:
    stream = Terminal()
    display, progress = Display(stream), BuildProgress()
    for second in range(3):
        progress.feed(f"  [{second + 1}/9] " + COMPILE.format("nms"), float(second))
        display.show(progress, float(second))
    display.line("done")
    text = stream.getvalue()
    assert text.count("\n") == 2  # the announcement and the last line
    assert text.endswith("\r\x1b[Kdone\n")


def test_first_errors_stand_where_the_compiler_met_them() -> None:
    first, second = "a.h:9:2: error: #error C++20", "b.cpp: fatal error: gone"
    log = f"  {first}\nnote: here\n{second}\n  {first}\nERROR: Failed to build"
    assert first_errors(log) == [first, second]
    assert first_errors(log, 1) == [first]
