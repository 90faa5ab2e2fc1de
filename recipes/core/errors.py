"""The error of the recipes."""

from dataset_scripts import DataError


class UserError(DataError):
    """Something that the person at the keyboard can mend; the message says what, in one printable line."""
