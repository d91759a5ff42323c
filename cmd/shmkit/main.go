// Shmkit runs any program as several worker processes on this machine, collects
// their output as log records, and shares one live configuration among them.
//
//	shmkit run -n 4 --config job.yaml --log json:out.jsonl -- python3 job.py
//	shmkit config set batch.size=64
//	shmkit ps
//
// Exit codes: 0 when all went well; 1 for a failure of shmkit itself; 2 when the
// command line is wrong; otherwise that of the worst worker, 128+signal for one
// that was killed. An error is one line on standard error that begins with
// "shmkit: ".
package main

import (
	"context"
	"os"

	"shmkit"
)

func main() {
	shmkit.Main() // this program may be a node that "shmkit rank" started
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
