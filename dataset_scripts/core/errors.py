"""The errors that a person can act on: one line that names the file, row or option and says what to do."""


class DataError(ValueError):
    """Data or arguments that cannot be read as asked."""


class TrustError(PermissionError):
    """A script that was found, not named, and is therefore not run."""
