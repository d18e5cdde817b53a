"""Command lines: ``mmptq COMMAND``, and ``tools/COMMAND.py`` of a clone."""
