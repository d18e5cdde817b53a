"""Units of a model, what each reads and writes, and the loop that adjusts one."""
