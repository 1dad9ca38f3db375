"""Patterns over which a backtracking engine takes exponential or polynomial time (OWASP, "ReDoS"; CWE-1333)."""

EVIL = (
    "(a+)+",
    "([a-zA-Z]+)*",
    "(a|aa)+",
    "(a|a?)+",
    "(.*a){11}",
    "(a*)*b",
    "(x+x+)+y",
    "(.*)*=.*",
    r"(\w+\s?)*[:;]",
    r"([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))",
    r"(?:\s*[a-z]*)*!",
    ".*.*=.*",
)
