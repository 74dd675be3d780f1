"""A process under measurement: pinned to one core, read through /proc, ended by its own pid.

CPU time comes from schedstat, which counts nanoseconds; utime and stime count ticks of 10 ms.
"""

import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

_CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, RIG_CORE = _CORES[0], _CORES[-1]


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 8192:
        raise SystemExit(f"2000 streams need about 4100 open files in the proxy; the hard limit here is {hard}")


class Placement:
    """Where and how the rig's processes run. Real time is for a machine that others use at the same time: they no longer
    delay what is measured. Not for floods, whose sender would never let the reader of the same core run."""

    realtime = False

    @classmethod
    def on(cls, core):
        """To be run in a process before its program."""

        def place():
            os.sched_setaffinity(0, {core})
            if cls.realtime:
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))

        return place


class Process:
    def __init__(self, command, core, directory, name, env=None, quiet=False):
        """`quiet`: what it prints is not read."""
        self._log = open(Path(directory) / f"{name}.stderr", "wb")
        self._popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
            stderr=self._log,
            env=env,
            preexec_fn=Placement.on(core),
        )
        self.pid = self._popen.pid

    def first_line(self):
        return self._popen.stdout.readline().decode().strip()

    def alive(self):
        return self._popen.poll() is None

    def complaint(self):
        return Path(self._log.name).read_text(errors="replace")[-2000:]

    def pids(self):
        """The process and its descendants: nginx works in a child."""
        found, unseen = [], [self.pid]
        while unseen:
            pid = unseen.pop()
            found.append(pid)
            for children in _of_tasks(pid, "children"):
                unseen.extend(int(child) for child in children.split())
        return found

    def cpu(self):
        """Nanoseconds on a core, over all threads alive."""
        return sum(int(stat.split()[0]) for pid in self.pids() for stat in _of_tasks(pid, "schedstat"))

    def cpu_by_thread(self):
        """Nanoseconds on a core by the names of the threads alive, in the process itself."""
        times = {}
        for name, stat in _of_tasks(self.pid, "comm", "schedstat"):
            times[name.strip()] = times.get(name.strip(), 0) + int(stat.split()[0])
        return times

    def resident(self):
        """Bytes of memory in RAM. Pages that processes share count once for each."""
        return sum(_field(f"/proc/{pid}/smaps_rollup", "Rss") for pid in self.pids()) * 1024

    def peak(self):
        """The most bytes of memory in RAM so far."""
        return sum(_field(f"/proc/{pid}/status", "VmHWM") for pid in self.pids()) * 1024

    def kill(self):
        """Without a word to its peers but what the kernel says."""
        self._popen.kill()
        self._popen.wait()

    def stop(self, seconds=3):
        if self.alive():
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdout:
            self._popen.stdout.close()
        self._log.close()


def _of_tasks(pid, *names):
    """These files of each thread, one text or a tuple of them; a thread may end after it was listed, and is left out."""
    found = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return found
    for task in tasks:
        try:
            texts = tuple((task / name).read_text() for name in names)
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(texts if len(names) > 1 else texts[0])
    return found


def _field(path, name):
    return int(re.search(rf"^{name}:\s+(\d+)", Path(path).read_text(), re.MULTILINE).group(1))


def wait_until(ready, process, poll, seconds=60.0):
    end = time.monotonic() + seconds
    while not ready():
        if not process.alive() or time.monotonic() > end:
            raise RuntimeError(f"did not start: {process.complaint()}")
        time.sleep(poll)
