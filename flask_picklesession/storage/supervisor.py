"""Runs one embedded server for as long as anybody uses its folder. A program of its own, with no imports of ours.

Started by :mod:`flask_picklesession.storage.embedded` in a process session of its own. Every user of the folder holds
a shared lock on one file; who gets the exclusive lock knows that the last user has gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time

#: Seconds between two looks at the lock and the server.
INTERVAL = 0.2

_PR_SET_PDEATHSIG = 1


def main(users_path: str, command: list[str]) -> int:
    """Run the server until its last user has gone.

    :param users_path: the file that users lock.
    :param command: the server's command line.
    """
    with open(users_path, "r+b") as users:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
        signal.signal(signal.SIGTERM, lambda *_arguments: server.terminate())
        while server.poll() is None:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(INTERVAL)
                continue
            # The lock is held until the server has gone: who comes now waits, and starts a new one.
            server.terminate()
            server.wait()
        return server.returncode


def _die_with_parent() -> None:
    # Where the supervisor is killed nobody would stop the server. Linux can tell it; elsewhere it stays.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:
            os._exit(1)


if __name__ == "__main__":
    # In the background: nobody's child, so that no user of the folder has to wait for it when it ends.
    if os.fork() == 0:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
