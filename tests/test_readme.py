"""The commands of the README, and of the pages that a user reads first, run as they stand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# In the order of a user's day, as the site's navigation has them.
FIRST = ("first_run", "own_model", "which_recipe", "read_results", "export", "trust")
READ = [README, *((ROOT / f"docs/start/{name}.md").read_text() for name in FIRST)]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def commands(prefix: str) -> list[str]:
    """Lines of the pages' bash blocks that begin with ``prefix``, each once."""
    text = re.sub(r" \\\n +", " ", "".join(READ))  # continued lines
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(prefix)]
    return [*dict.fromkeys(lines)]


def run(command: str, work_dir: Path) -> str:
    """Run a python command of these pages, with its work dir moved to ``work_dir``."""
    words = shlex.split(command)
    words[0] = sys.executable
    words = [w.replace("work_dirs/", f"{work_dir}/") for w in words]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"`make (\w+)", README) + [c.split()[1] for c in commands("make ")]
    assert {"demo", "test", "check"} <= set(named)
    assert set(named) <= set(targets)


@pytest.mark.slow
def test_demo_commands_run(tmp_path: Path) -> None:
    demo = [c for c in commands("python tools/") if "digits_w8a8" in c]
    tools = [Path(c.split()[1]).stem for c in demo]
    assert tools == ["quantize", "test", "export", "test"]
    outputs = [run(command, tmp_path) for command in demo]
    mean = [re.findall(r"bbox_mAP: (\d\.\d+)", text)[-1:] for text in outputs]
    assert mean[0] == mean[1] != []
    # Another order of additions: a score next to a threshold may fall to the other side.
    assert abs(float(mean[3][0]) - float(mean[0][0])) < 0.003
    assert "products in integers" in outputs[2]


@pytest.mark.slow
def test_recipes_of_the_demo_run(tmp_path: Path) -> None:
    (gptq,) = [c for c in commands("python tools/quantize.py") if "calib/gptq.py" in c]
    assert re.search(r"gptq +full +W4A4", run(gptq, tmp_path))
    (analysis,) = commands("python tools/analyze.py")
    run(f"{analysis} --images 4", tmp_path)
    assert list(tmp_path.rglob("sensitivity_w4a4_overrides.py"))


def test_the_readme_is_one_screen() -> None:
    assert len(README.splitlines()) < 70
    assert "![" in README and len(re.findall(r"```bash", README)) == 1


def test_first_pages_are_those_of_the_site() -> None:
    assert {path.stem for path in (ROOT / "docs/start").glob("*.md")} == set(FIRST)


def test_commands_that_need_data_plan_without_it(tmp_path: Path) -> None:
    own = ROOT / "tests/data/my_mmdet_config.py"
    needing = [c for c in commands("python tools/quantize.py") if "configs/demo/" not in c]
    assert len(needing) == 4
    for command in needing:
        command = command.replace("my_mmdet_config.py", str(own)).replace(" --dry-run", "")
        assert "layers" in run(f"{command} --dry-run", tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"(?:configs|tools|benchmarks|mmptq|tests|docs)/[\w./-]+\.\w+", text)
    # MMDetection has a tools/ of its own.
    named = [name for name in named if name != "tools/train.py"]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing
