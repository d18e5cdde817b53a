"""What is written in several places is the same in all of them."""

import re

import yaml

from mmptq import __version__
from tests.tiny_project import REPO


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.M))


def test_citation_names_the_version():
    assert yaml.safe_load((REPO / "CITATION.cff").read_text())["version"] == __version__


def test_workflows_call_make_targets():
    jobs = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = [command.split()[1] for command in commands if command.split()[0] == "make"]
    assert len(called) == len(commands)
    assert set(called) <= make_targets()
    assert {"lint", "types", "test", "wheel", "docs"} <= set(called)
    assert jobs["check"]["strategy"]["matrix"]["stack"] == ["upstream", "onedl"]


def test_pre_commit_calls_make_targets():
    (repo,) = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]:
        program, target = hook["entry"].split()
        assert program == "make" and target in make_targets()


def test_issues_ask_for_the_environment():
    for path in (REPO / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        fields = yaml.safe_load(path.read_text())["body"]
        (asked,) = [f for f in fields if f["attributes"]["label"].endswith("check_env.py --json")]
        assert asked["validations"]["required"]
