"""mmptq on other versions of Python, torch and the stacks, each in an environment of its own.

  pipx run nox --list
  pipx run nox                                  # all; a Python that is not on the path is skipped
  pipx run nox -s "versions(python='3.12', torch='2.13.0', stack='upstream')"

Each one installs, quantizes the demo and runs `make smoke`; what came of it goes to
benchmarks/results/versions.json, from which docs/install.md has its table. The environment is
removed afterwards unless the command ends with `-- --keep`.
"""

import shutil
from pathlib import Path

import nox

# Python, torch, stack. The oldest torch that mmptq takes, the newest that builds, some in between.
VERSIONS = [
    ("3.10", "2.6.0", "upstream"),
    ("3.10", "2.13.0", "upstream"),
    ("3.11", "2.6.0", "upstream"),
    ("3.11", "2.8.0", "upstream"),
    ("3.11", "2.13.0", "upstream"),
    ("3.11", "2.15.0", "upstream"),
    ("3.12", "2.13.0", "upstream"),
    ("3.11", "2.13.0", "onedl"),
    ("3.12", "2.13.0", "onedl"),
]
ROOT = Path(__file__).parent


@nox.session(venv_backend="venv", reuse_venv=False)
@nox.parametrize(["python", "torch", "stack"], VERSIONS)
def versions(session: nox.Session, torch: str, stack: str) -> None:
    """Install, demo, smoke tests; keeps what came of it."""
    folder = session.cache_dir / f"versions-{session.python}-{torch}-{stack}"
    environment = Path(session.virtualenv.location)
    settings = [f"VENV={environment}", f"STACK={stack}", f"TORCH=torch=={torch}"]
    junit, demo = folder / "smoke.xml", folder / "demo"
    try:
        session.run("make", "install", *settings, external=True)
        session.run("make", "demo", *settings, f"DEMO_DIR={demo}", external=True)
        session.run(
            "make",
            "smoke",
            *settings,
            f"PYTEST_ARGS=-q --junitxml={junit}",
            external=True,
            success_codes=[0, 2],  # 2 is make's: tests failed, and the table says how many
        )
        recorder = ROOT / "benchmarks/versions.py"
        session.run("python", recorder, demo, junit, "--stack", stack)
    finally:
        if "--keep" not in session.posargs:
            shutil.rmtree(environment, ignore_errors=True)
