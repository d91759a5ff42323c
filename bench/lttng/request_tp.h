// The tracepoint that hot_path.c records: an int, a string and a float.
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER shmkit

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./request_tp.h"

#if !defined(REQUEST_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define REQUEST_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

LTTNG_UST_TRACEPOINT_EVENT(
	shmkit, request,
	LTTNG_UST_TP_ARGS(int64_t, n, const char *, path, double, ms),
	LTTNG_UST_TP_FIELDS(
		lttng_ust_field_integer(int64_t, n, n)
		lttng_ust_field_string(path, path)
		lttng_ust_field_float(double, ms, ms)
	)
)

#endif

#include <lttng/tracepoint-event.h>
