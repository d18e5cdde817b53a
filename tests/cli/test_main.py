"""The console script, and its agreement with tools/."""

import pytest

from mmptq import __version__
from mmptq.cli.main import COMMANDS, main
from tests.tiny_project import REPO


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command(capsys):
    shown = output(capsys, "--help")
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_version(capsys):
    assert output(capsys, "--version").split() == ["mmptq", __version__]


def test_unknown_command_is_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["quantise"])
    assert stopped.value.code == 2
    assert "'quantise'" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_speaks_of_what_was_called(command, capsys):
    shown = output(capsys, command, "--help")
    assert shown.startswith(f"usage: mmptq {command} ")
    assert f"mmptq {command} " in shown.split("Example", 1)[1]
    assert "python tools/" not in shown and " configs/" not in shown
    assert f'run_tool("{command}")' in (REPO / f"tools/{command}.py").read_text()


def test_error_is_one_line_and_speaks_of_what_was_called(tmp_path):
    checkpoint = tmp_path / "float.pth"
    arguments = ["test", str(REPO / "configs/demo/retinanet_w8a8_mmse.py"), str(checkpoint)]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--runtime", "openvino"])
    assert stopped.value.code.startswith("error: --runtime openvino executes .onnx files")
    assert stopped.value.code.endswith("export it by mmptq export")
