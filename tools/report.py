"""`mmptq report` from a clone; mmptq/cli/report.py says what it does."""

from mmptq.cli.main import run_tool

if __name__ == "__main__":
    run_tool("report")
