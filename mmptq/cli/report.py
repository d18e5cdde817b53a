r"""Write a run's report again, from what lies in its work dir.

tools/quantize.py ends with the same page. Again it is needed when something was added: an analysis
of sensitivity (tools/analyze.py sensitivity), or pictures were removed.

results, in the work dir:
  report.html   one file of at most 5 MB, without network and without JavaScript

Examples:
  python tools/report.py work_dirs/demo
  python tools/report.py work_dirs/*/        # of many runs
"""

import argparse
from pathlib import Path

from mmengine.logging import print_log

from mmptq.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work_dirs", nargs="+", type=Path, help="of tools/quantize.py")


def main(args: argparse.Namespace) -> None:
    for folder in args.work_dirs:
        print_log(str(write_report(folder)))
