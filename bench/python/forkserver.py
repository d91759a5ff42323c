"""Prints the milliseconds that one start and join of an empty child takes with
the forkserver start method, as the mean over N children, the server being there
already.

    forkserver.py N
"""
import multiprocessing as mp
import sys
import time


def nothing():
    pass


if __name__ == "__main__":
    n = int(sys.argv[1])
    ctx = mp.get_context("forkserver")
    first = ctx.Process(target=nothing)
    first.start()
    first.join()
    begin = time.perf_counter()
    for _ in range(n):
        p = ctx.Process(target=nothing)
        p.start()
        p.join()
    print((time.perf_counter() - begin) / n * 1e3)
