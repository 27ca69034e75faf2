"""Exceptions that the command line prints in one line, without a traceback."""


class UserError(Exception):
    """A user's mistake, in one line: what was given, what was expected, what to do. Exit code 2."""


class DivergenceError(Exception):
    """Training whose numbers are not finite any more, in one line: what was kept, what to try. Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after what was done is safe: what was kept, and how to go on. Exit code 130."""
