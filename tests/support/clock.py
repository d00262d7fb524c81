"""A wall clock that a test can set, for all processes that are started under it; the machine's own is left alone.

A library of forty lines of C, loaded before libc, adds to the time of day the seconds that a shared file holds. What is
monotonic stays as it is, as it does when somebody sets a machine's clock.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("SET_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) shift = found;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_gettime) real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real_gettime(clock, now);
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec found;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    if (kept) *kept = found.tv_sec;
    return found.tv_sec;
}
"""


@dataclass(frozen=True)
class Clock:
    """A clock that is right until it is set."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which a process, and all that it starts, reads this clock."""
        return {"LD_PRELOAD": str(self.folder / "clock.so"), "SET_CLOCK_FILE": str(self.folder / "seconds")}

    def set(self, seconds: int) -> None:
        """Put it forward by so many seconds, or back; at once, and in all processes."""
        with (self.folder / "seconds").open("r+b") as file:  # in place: they have it in their memory
            file.write(seconds.to_bytes(8, "little", signed=True))


def make_clock(folder: Path) -> Clock:
    """Compile the library into an empty folder; skips the test where there is no C compiler."""
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is needed: apt-get install gcc libc6-dev")
    (folder / "clock.c").write_text(_SOURCE)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "clock.so"), str(folder / "clock.c"), "-ldl"], check=True
    )
    (folder / "seconds").write_bytes(bytes(8))
    return Clock(folder)
