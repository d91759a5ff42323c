"""Many processes logging into one JSON file the way Python's own documentation
does it: a QueueHandler in each process, a QueueListener in the parent.

    queue_listener.py FILE WORKERS CALLS

prints the seconds from the start of the first worker until FILE is complete.
"""

import json
import logging
import logging.handlers
import multiprocessing
import os
import sys
import time


class JSONFormatter(logging.Formatter):
    def format(self, record):
        return json.dumps(
            {
                "time": record.created,
                "level": record.levelname,
                "msg": record.getMessage(),
                "worker": record.worker,
                "pid": record.process,
                "n": record.n,
                "path": record.path_,
                "ms": record.ms,
            }
        )


def work(queue, rank, calls):
    log = logging.getLogger()
    log.addHandler(logging.handlers.QueueHandler(queue))
    log.setLevel(logging.INFO)
    ms = os.getpid() / 3
    for i in range(calls):
        log.info("request", extra={"worker": rank, "n": i, "path_": "GET /index.html", "ms": ms})


def main():
    path, workers, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    context = multiprocessing.get_context("forkserver")
    start = time.perf_counter()
    queue = context.Queue()
    handler = logging.FileHandler(path)
    handler.setFormatter(JSONFormatter())
    listener = logging.handlers.QueueListener(queue, handler)
    listener.start()
    processes = [context.Process(target=work, args=(queue, rank, calls)) for rank in range(workers)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    listener.stop()
    handler.close()
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
