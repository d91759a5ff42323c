// What one LTTng-UST event costs the caller, by quill's method: a batch is 20 calls
// in a row, its figure their mean, and 2 ms are spent spinning between batches.
// Prints p50, p99 and p99.9 of the batches in nanoseconds.
//
//	cc -O2 -I. -o hot_path hot_path.c -llttng-ust -ldl
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "request_tp.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CALLS = 20, BATCHES = 300 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double ns[BATCHES];
	const char *path = argc > 1 ? argv[1] : "GET /index.html";

	if (!lttng_ust_tracepoint_enabled(shmkit, request)) {
		fprintf(stderr, "hot_path: the event shmkit:request is not enabled\n");
		return 1;
	}
	for (int b = 0; b < BATCHES; b++) {
		double start = now();
		for (int i = 0; i < CALLS; i++)
			lttng_ust_tracepoint(shmkit, request, argc + b + i, path, b / 3.0);
		double end = now();
		ns[b] = (end - start) / CALLS;
		while (now() < end + 2e6)
			;
	}
	qsort(ns, BATCHES, sizeof ns[0], ascending);
	printf("%.0f %.0f %.0f\n", ns[BATCHES / 2], ns[BATCHES * 99 / 100], ns[BATCHES * 999 / 1000]);
	return 0;
}
