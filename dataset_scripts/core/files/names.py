"""File names: which are hidden, and how those that are not UTF-8 are shown."""

PROGRAMS = frozenset(("__MACOSX", "__pycache__", "lost+found"))


def is_hidden(name: str) -> bool:
    """Dot files (`.git`, macOS's `._cat.jpg`) and the folders that programs leave behind."""
    return name.startswith(".") or name in PROGRAMS


def shown(name: str | bytes) -> str:
    r"""A name that Arrow, logs and class names can hold: a byte 0xe9 that is not UTF-8 becomes `\xe9`.

    Args:
        name: bytes as an archive holds them, or a str in which the system keeps such bytes as lone surrogates.
    """
    if isinstance(name, str):
        if name.isascii():
            return name
        name = name.encode("utf-8", "surrogateescape")
    return name.decode("utf-8", "backslashreplace")
