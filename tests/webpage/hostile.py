"""Texts that would run, or hide, if a page took them as they are."""

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "</style><style>body{display:none}</style>",
    "\"><img src='x' onerror='window.hacked = 1'>",
    "' onmouseover='window.hacked = 1' x='",
    "javascript:window.hacked=1",
    "--><svg onload=window.hacked=1>",
    "&lt;script&gt;&#x3c;script>",
    "</title></svg><script>window.hacked=1</script>",
    "a\x00b\u202ec\ud800",
]
