"""Joining mmcv's sources: what clashes stays apart, and what is compiled is the same."""

import subprocess
from pathlib import Path

import pytest
from mmcv_units import FOLDERS, defined_names, divide, join


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("void f(int a);\n", set()),
        ("void f(int a) { if (a) { g(a); } }\n", {"f"}),
        ("template <typename T>\nT f(const T* a,\n    int b) {\n}\n", {"f"}),
        ("static inline int at::f(int a) const { return a; }", {"f"}),
        ("struct P {\n  int f() { return 1; }\n};\nenum class E { A };", {"P", "E"}),
        ("struct P;\n", set()),
        ("namespace {\nvoid f() {}\n}\nnamespace a::b { int g() { return 1; } }", {"f", "g"}),
        ("// void f() {}\n/* void g() {} */ char c = '{'; void h() { }", {"h"}),
        ('const char* s = "void f() {";\nvoid g() {}', {"g"}),
        ("#define SIZE(a) \\\n  void f() {}\nvoid g() {}", {"g"}),
        ("REGISTER(f, CPU, f_cpu);\n", set()),
        ("using namespace std;\nusing T = int;\ntypedef int U;", {"std", "T", "U"}),
    ],
)
def test_defined_names(code: str, names: set[str]) -> None:
    assert defined_names(code) == names


def test_names_that_clash_get_units_of_their_own() -> None:
    files = {
        Path(f"{name}.cpp"): f"int {body}() {{ return 0; }}" for name, body in ("af", "bf", "cg")
    }
    groups = divide(files, 1)
    assert sorted(map(len, groups)) == [1, 2]
    assert not any({Path("a.cpp"), Path("b.cpp")} <= set(group) for group in groups)
    assert sorted(file for group in groups for file in group) == sorted(files)


def test_weight_is_spread() -> None:
    files = {Path(f"{i}.cpp"): "x" * (100 if i else 300) for i in range(4)}
    assert sorted(map(len, divide(files, 2))) == [1, 3]


def test_opened_namespace_comes_last() -> None:
    files = {Path("a.cpp"): "using namespace std;\n", Path("b.cpp"): "int f();"}
    assert divide(files, 1) == [[Path("b.cpp"), Path("a.cpp")]]


def test_joined_units_do_what_the_files_did(tmp_path: Path) -> None:
    """Compiled and run: each file still finds its own header, its own `twice` and its own macro."""
    sources = tmp_path / FOLDERS[0]
    (sources / "cpu").mkdir(parents=True)
    (sources / "cpu" / "near.h").write_text("static int near() { return 1000; }\n")
    for number in (1, 2):
        (sources / f"{'cpu/' * (number - 1)}part{number}.cpp").write_text(
            ('#include "near.h"\n' if number == 2 else "static int near() { return 0; }\n")
            + f"#define K {number}\nstatic int twice(int a) {{ return {number} * a; }}\n"
            f"int part{number}() {{ return twice(10) + K + near(); }}\n"
        )
    (sources / "main.cpp").write_text(
        "#include <cstdio>\nint part1(); int part2();\n"
        'int main() { printf("%d %d", part1(), part2()); }\n'
    )
    assert join(tmp_path, 1) == 2
    assert [path.name for path in sorted(sources.rglob("*.cpp"))] == ["unit_0.cpp", "unit_1.cpp"]
    program = tmp_path / "program"
    subprocess.run(["c++", *sources.glob("*.cpp"), "-o", program], check=True)
    run = subprocess.run([program], capture_output=True, text=True, check=True)
    assert run.stdout == "11 1022"


def test_tree_without_sources_is_left_alone(tmp_path: Path) -> None:
    assert join(tmp_path, 4) == 0
