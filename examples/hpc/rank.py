"""A rank that is not written in Go. To be run by srun or mpirun as

    shmkit rank -- python3 rank.py

What it prints becomes log records, and "shmkit config get" reads the
configuration that all ranks of this machine share.
"""
import os
import subprocess
import sys

rank, size = int(os.environ["SHMKIT_RANK"]), int(os.environ["SHMKIT_SIZE"])
level = subprocess.run(["shmkit", "config", "get", "level"], capture_output=True, text=True).stdout.strip()
print(f"python rank {rank} of {size}, level {level}")
print("a warning from python", file=sys.stderr)
