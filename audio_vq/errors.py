"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A user's mistake, in one line: what was given, what was expected, what to do.

    The command line prints it without a traceback and exits with code 2.
    """
