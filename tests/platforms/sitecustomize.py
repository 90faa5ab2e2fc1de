"""This machine without what macOS or Windows lacks; Python runs it in every process that has this folder in PYTHONPATH.

PLATFORM=macos or windows selects the system. Names are missing only for the modules of this repository: the libraries
go by `sys.platform`, and need these names on Linux. Operations that Windows does differently change for all modules.
"""

import builtins
import ctypes
import errno
import multiprocessing
import os
import pathlib
import select
import shutil
import stat
import sys
import tempfile
import types
import warnings

OURS = ("dataset_scripts", "recipes", "isolated_", "__main__", "__mp_main__")
LACKING = {
    "macos": {"os": "sched_getaffinity sched_setaffinity memfd_create posix_fadvise O_TMPFILE"},
    "windows": {
        "os": "sched_getaffinity sched_setaffinity memfd_create posix_fadvise O_TMPFILE O_NOFOLLOW O_DIRECTORY O_CLOEXEC "
        "getuid geteuid getgid getegid getpgid getpgrp setpgid killpg setsid statvfs fstatvfs fork forkpty "
        "register_at_fork pread pwrite preadv fchmod fchown chown lchown mkfifo sysconf getloadavg",
        "signal": "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGXCPU SIGALRM SIGQUIT SIGCHLD alarm setitimer pthread_sigmask",
        "fcntl": None,
        "resource": None,
        "grp": None,
        "pwd": None,
    },
}
ADDED = {}  # additional modules for our modules


class Lacking(types.ModuleType):
    """A module without some of its names."""

    def __init__(self, module: types.ModuleType, names: str):
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _names=set(names.split()))

    def __getattr__(self, name: str):
        if name in self._names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._module, name)


def is_ours(scope: dict | None) -> bool:
    return bool(scope) and str(scope.get("__name__")).startswith(OURS)


def take_names(lacking: dict[str, str | None]) -> None:
    load = builtins.__import__

    def import_module(name, globals=None, locals=None, fromlist=(), level=0):
        if name in ADDED and is_ours(globals):
            return ADDED[name]
        module = load(name, globals, locals, fromlist, level)
        if level or name not in lacking or not is_ours(globals):
            return module
        if lacking[name] is None:
            raise ImportError(f"No module named {name!r}", name=name)
        return Lacking(module, lacking[name])

    builtins.__import__ = import_module


def take_proc() -> None:
    opened = builtins.open

    def open_file(path, *arguments, **options):
        if str(path).startswith(("/proc", "/dev/")) and is_ours(sys._getframe(1).f_globals):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return opened(path, *arguments, **options)

    builtins.open = open_file


def be_windows() -> None:
    """Folders cannot be opened, only writable files are flushed, open files cannot be renamed or deleted, a rename does
    not replace, links need a privilege, a temporary file cannot be opened twice, and `select` takes only sockets.
    """
    import fcntl

    opened, flushed, renamed, unlink, polled = os.open, os.fsync, os.rename, os.unlink, select.select

    def open_file(path, flags, mode=0o777, *, dir_fd=None):
        if dir_fd is None and os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, flags, mode, dir_fd=dir_fd)

    def flush(file):
        number = file if isinstance(file, int) else file.fileno()
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flushed(number)

    def refusing(change):
        def call(*paths, **options):
            for path in paths if called_by_ours() else ():
                if isinstance(path, (str, bytes, os.PathLike)) and is_open(os.path.realpath(os.fsdecode(path))):
                    raise PermissionError(errno.EACCES, "The file is being used by another process", os.fspath(path))
            return change(*paths, **options)

        return call

    def lock(descriptor, mode, count):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from error

    def rename(source, target, **options):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(source))
        renamed(source, target, **options)

    def link(*paths, **options):
        raise OSError(errno.EPERM, "A required privilege is not held by the client")

    def select_sockets(*lists):
        for item in (item for items in lists[:3] for item in items):
            if not stat.S_ISSOCK(os.fstat(item if isinstance(item, int) else item.fileno()).st_mode):
                raise OSError(errno.ENOTSOCK, "An operation was attempted on something that is not a socket")
        return polled(*lists)

    load_library = ctypes.CDLL.__init__

    def find_library(library, name, *arguments, **options):
        if name is None:
            raise TypeError("argument of type 'NoneType' is not iterable")
        load_library(library, name, *arguments, **options)

    made = tempfile.NamedTemporaryFile

    def temporary_file(*arguments, delete=True, **options):
        file = made(*arguments, delete=delete, **options)
        if delete:  # it cannot be opened by its name
            unlink(file.name)
            file._closer.delete = False
        return file

    def is_mount(path):
        raise NotImplementedError("Path.is_mount() is unsupported on this system")

    os.open, os.fsync, os.symlink, select.select = open_file, flush, link, select_sockets
    os.rename, os.replace, os.unlink, os.remove = map(refusing, (rename, os.replace, os.unlink, os.remove))
    pathlib.Path.is_mount, ctypes.CDLL.__init__, tempfile.NamedTemporaryFile = is_mount, find_library, temporary_file
    shutil._use_fd_functions = False  # these functions open folders
    ADDED["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lock)


def called_by_ours() -> bool:
    """Whether a call comes from this repository, if need be through the standard library's own wrappers."""
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__") in ("pathlib", "shutil", "tempfile", "contextlib"):
        frame = frame.f_back
    return is_ours(frame.f_globals)


def is_open(path: str) -> bool:
    """Whether this process has a file open, or one in a folder."""
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the descriptor that lists the others
            continue
        if target == path or target.startswith(f"{path}/"):
            return True
    return False


platform = os.environ.get("PLATFORM")
if platform:
    take_names(LACKING[platform])
    take_proc()
    multiprocessing.set_start_method("spawn", force=True)
if platform == "windows":
    be_windows()
    warnings.simplefilter("ignore", EncodingWarning)  # due to PYTHONWARNDEFAULTENCODING=1
    warnings.filterwarnings("error", "'encoding' argument", EncodingWarning, rf"({'|'.join(OURS)})")
