"""The command `dataset-scripts`. It imports little before it knows what to do, so that it can be interrupted early."""

import sys
from importlib.metadata import entry_points

from dataset_scripts.core.errors import DataError, TrustError, printable
from dataset_scripts.core.files.system import print_every_character, until_nobody_reads

ADDED = "dataset_scripts.commands"  # entry points of packages that build on this one: words -> exit status


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 if all is well, 1 if the data have faults, 2 if it could not be run."""
    print_every_character()
    with until_nobody_reads():
        return _run(sys.argv[1:] if arguments is None else arguments)


def _run(arguments: list[str]) -> int:
    added = entry_points(group=ADDED)
    try:
        if arguments and arguments[0] in added.names:
            return added[arguments[0]].load()(arguments[1:])
        from dataset_scripts.core.commands import run

        return run(arguments, added)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        print(f"dataset-scripts: {printable(_fault(error))}", file=sys.stderr)
        return 2


def _fault(error: Exception) -> object:
    """What went wrong, if the user can fix it; raises any other error again."""
    import datasets

    from dataset_scripts.core.files.disk import disk_fault

    full = disk_fault(error, datasets.config.HF_DATASETS_CACHE)  # an error that names no file is about that folder
    of_datasets = isinstance(error, datasets.exceptions.DatasetsError)
    if full is None and not of_datasets and not isinstance(error, (DataError, TrustError, OSError)):
        raise error
    cause = error.__cause__ if of_datasets else None  # what a script raised
    return full or (f"{error}: {type(cause).__name__}: {cause}" if cause else error)


if __name__ == "__main__":
    sys.exit(main())
