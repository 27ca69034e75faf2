"""Exceptions that the command line prints in one line, without a traceback."""


class UserError(Exception):
    """A user's mistake, in one line: what was given, what was expected, what to do. Exit code 2."""


class DivergenceError(Exception):
    """Training whose numbers are not finite any more, in one line: what was kept, what to try. Exit code 1."""
