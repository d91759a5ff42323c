"""Reads one key of a multiprocessing.Manager().dict n times in a second process
and prints the nanoseconds of one read."""
import multiprocessing
import sys
import time


def read(d, n, out):
    d["level"]  # connect
    start = time.perf_counter_ns()
    for _ in range(n):
        d["level"]
    out.put((time.perf_counter_ns() - start) / n)


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        d = manager.dict(level="GET /index.html")
        out = multiprocessing.Queue()
        p = multiprocessing.Process(target=read, args=(d, int(sys.argv[1]), out))
        p.start()
        print(out.get())
        p.join()
