"""The first process of a confined program's process namespace: covers, gives up every right, starts the program.

When it ends the kernel ends everything that the program has left behind.

Source: pid_namespaces(7), capabilities(7).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from proxy.confine import calls, linux, masks
from proxy.confine.errors import ConfineError

if TYPE_CHECKING:
    from proxy.confine.plan import Plan

FORWARDED: Final = (
    signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT,
)  # fmt: skip
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
SIGNALLED: Final = 128
FAILED: Final = 1


def first_process(plan: Plan, sockets: list[str]) -> NoReturn:
    """Never returns: it exits with the program's exit code, 128 + N after signal N."""
    code = FAILED
    try:
        linux.end_with_parent(signal.SIGKILL)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os.unshare(os.CLONE_NEWNS)
        masks.cover(plan.hidden, sockets, plan.environment)
        own_user_namespace(os.CLONE_NEWNS)
        linux.keep_out()
        linux.drop_privileges()
        linux.end_with_parent(signal.SIGKILL)  # a change of rights has undone the first
        linux.filter_calls(calls.program(os.uname().machine))
        code = _run(plan)
    except ConfineError as error:
        _say(str(error))
    except OSError as error:
        _say(f"the program cannot be confined: {error.strerror}")
    finally:
        os._exit(code)


def own_user_namespace(others: int) -> None:
    """A user namespace, in which our user is itself and nobody else exists, with the `others` (flags of unshare(2)).

    Raises:
        OSError: the kernel refuses.
    """
    user, group = os.geteuid(), os.getegid()
    os.unshare(os.CLONE_NEWUSER | others)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(line)


def passed_on(number: int) -> bool:
    """A terminal sends Ctrl-C to the whole foreground group: the program has it already."""
    return number not in (signal.SIGINT, signal.SIGQUIT) or not os.isatty(0)


def _run(plan: Plan) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until there is someone to forward to
    program = os.fork()
    if program == 0:
        _become(plan)

    def forward(number: int, _frame: object) -> None:
        if passed_on(number):
            os.kill(program, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    while True:
        ended, status = os.wait()  # also for orphans, whose parent we become
        if ended == program:
            code = os.waitstatus_to_exitcode(status)
            return SIGNALLED - code if code < 0 else code


def _become(plan: Plan) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *FORWARDED):  # Python ignores the first two
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    _leave_group()
    name = plan.command[0]
    try:
        os.execvpe(name, plan.command, plan.environment)  # noqa: S606
    except FileNotFoundError:
        _say(f"{name}: command not found")
        os._exit(NOT_FOUND)
    except OSError as error:
        _say(f"{name}: {error.strerror}")
        os._exit(NOT_EXECUTABLE)


def _leave_group() -> None:
    """A process group crosses process namespaces: `kill(0, SIGKILL)` would end the sidecar, and a script that runs it.

    Not where there is a terminal: it talks to one group only, and its shell has made that for us.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        os.setpgid(0, 0)


def _say(text: str) -> None:
    sys.stderr.write(f"briefcased: {text}\n")
    sys.stderr.flush()
