"""A real terminal for the end-to-end tests: a program in a tmux of its own, its screen and its keys."""

import fcntl
import os
import select
import shlex
import termios

from lib import wait_for


class Terminal:
    """A program in a tmux of its own."""

    def __init__(self, w, *argv, columns=100, lines=24):
        self.w = w
        self.code = w.base / "exit-code"
        self.socket = str(w.base / "tmux")
        command = " ".join(shlex.quote(str(a)) for a in argv)
        self.env = {k: v for k, v in w.env.items() if k not in ("CI", "NO_COLOR")} | {"TERM": "xterm-256color", "SHELL": "/bin/sh"}
        self.tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(w.repo),
            # The shell gets Ctrl-C as well, and has to live on to tell the exit code.
            f"trap : INT; {command}; echo $? >{self.code}.new; mv {self.code}.new {self.code}; sleep 600",
        )

    def tmux(self, *args):
        return self.w.run("tmux", "-S", self.socket, *args, env=self.env, rc=0).out

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "0")

    def keys(self, *keys):
        self.tmux("send-keys", "-t", "0", *keys)

    def exit_code(self):
        wait_for(self.code.exists, lambda: f"the program to end; on its screen:\n{self.screen()}")
        return int(self.code.read_text(encoding="ascii"))

    def close(self):
        self.tmux("kill-server")
        wait_for(lambda: not os.path.exists(self.socket) or not [p for p in self.w.processes() if "tmux" in p.comm], "tmux to end")
        if os.path.exists(self.socket):
            os.unlink(self.socket)


def on_terminal(w, *argv, **options):
    t = Terminal(w, *argv, **options)
    w.env["TMUX_TMPDIR"] = str(w.base)
    return t


class Pty:
    """A program on a terminal whose bytes are looked at, not its screen. What it prints is collected by read()."""

    def __init__(self, w, *argv):
        self.master, slave = os.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.bytes = b""
        self.process = w.spawn(
            *argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env=w.env | {"TERM": "xterm-256color"},
        )

    def read(self):
        """Everything that is there now."""
        while self.master is not None and select.select([self.master], [], [], 0)[0]:
            self.bytes += os.read(self.master, 65536)
        return self.bytes

    def ended(self):
        self.read()
        return self.process.poll() is not None

    def wait(self, timeout=20):
        """The exit code; negative for a signal."""
        wait_for(self.ended, lambda: f"the program to end; it printed\n{self.bytes.decode(errors='replace')}", timeout)
        self.read()
        return self.process.returncode

    def restored(self):
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self.slave) == self.before

    def hang_up(self):
        """Closes the terminal, as its window does."""
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = None

    def close(self):
        if self.master is not None:
            self.hang_up()
