"""`mmptq pack` from a clone; mmptq/cli/pack.py says what it does."""

from mmptq.cli.main import run_tool

if __name__ == "__main__":
    run_tool("pack")
