"""Starts a command: ``mmptq COMMAND`` of the installed package, ``tools/COMMAND.py`` of a clone.

A command is a module of this package: its docstring is the help, ``add_arguments`` takes the
parser, ``main`` the parsed arguments; ``check``, where there is one, says what is wrong with them.
"""

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Sequence

from mmptq import __version__
from mmptq.errors import MmptqError

COMMANDS = {
    "quantize": "quantize a detector or classifier, and measure it before and after",
    "test": "evaluate a checkpoint or an exported model",
    "export": "write a quantized model as ONNX, checked in its runtime",
    "pack": "store a quantized checkpoint as integers",
    "analyze": "look at the loss, or at what each quantizer costs",
    "compare": "say whether one model's mAP is really above another's",
    "leaderboard": "make one page of many runs",
    "report": "write a run's report again",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script ``mmptq``."""
    lines = "\n".join(f"  {name:12} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mmptq",
        usage="mmptq COMMAND ...",
        description="Post-training quantization of MMDetection detectors.",
        epilog=f"commands:\n{lines}\n\nmmptq COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mmptq {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parser.parse_args(given[:1])
    run(args.command, given[1:], installed=True)


def run_tool(command: str) -> None:
    """``python tools/COMMAND.py``."""
    run(command, sys.argv[1:], installed=False)


def run(command: str, arguments: Sequence[str], installed: bool) -> None:
    """Run a command; bad input ends it with one line.

    Args:
        command: A key of :data:`COMMANDS`.
        arguments: Those behind it.
        installed: Whether texts call it ``mmptq COMMAND``, or ``tools/COMMAND.py``.

    Raises:
        SystemExit: The input is wrong.
    """
    # Only now: most of the commands take seconds to import.
    module = importlib.import_module(f"mmptq.cli.{command}")
    called = f"mmptq {command}" if installed else f"python tools/{command}.py"
    spoken: Callable[[str], str] = _installed_names if installed else str
    parser = argparse.ArgumentParser(
        prog=f"mmptq {command}" if installed else f"{command}.py",
        description=spoken(module.__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    try:
        args = parser.parse_args(arguments)
        args.command_line = shlex.join([*called.split(), *map(str, arguments)])
        wrong = module.check(args) if hasattr(module, "check") else None
        if wrong:
            parser.error(wrong)
        module.main(args)
    except (MmptqError, FileNotFoundError) as error:
        sys.exit(spoken(f"error: {error}"))


def _installed_names(text: str) -> str:
    """``python tools/test.py`` is ``mmptq test``, ``configs/`` is ``mmptq::``."""
    commands = "|".join(COMMANDS)
    text = re.sub(rf"(?:python )?\btools/({commands})\.py", r"mmptq \1", text)
    return re.sub(r"(?<![\w/.:])configs/(?=\w+/\w)", "mmptq::", text)
