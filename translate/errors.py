"""The one error that is meant for the person at the keyboard."""


class UserError(ValueError):
    """Something the user asked for cannot be done. The message names the setting, its value and the remedy.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """
