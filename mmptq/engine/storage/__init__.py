"""What is kept: finished stages, logs, tensors within a memory budget."""
