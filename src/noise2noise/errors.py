"""The one error that means: the input is at fault, and this sentence says how to mend it."""


class UserError(ValueError):
    """Bad input from outside: a file, an option, a folder.

    Its text is one sentence with the value met and what to do about it. The command line prints it
    without a traceback and exits with status 2.
    """
