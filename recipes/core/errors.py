"""The error that the recipes raise."""

from dataset_scripts import DataError


class UserError(DataError):
    """An error that the user can fix; the message says how, in one printable line."""
