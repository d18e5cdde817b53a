"""`mmptq compare` from a clone; mmptq/cli/compare.py says what it does."""

from mmptq.cli.main import run_tool

if __name__ == "__main__":
    run_tool("compare")
