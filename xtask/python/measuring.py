"""What the scripts that measure have in common, whatever their framework."""

import time


def best(repeats: int, work) -> float:
    """The least of several times, after one that does not count."""
    work()
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def peak_memory() -> int:
    """The most memory that this process has had, in MiB, as Linux tells."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024
