"""The loss of the quantized model, many times: only what lies behind a change is computed again."""
