package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"shmkit/adapters/rotatefile"
	"shmkit/logring"
)

// parseRotate reads what follows rotate: PATH, then options as in a URL:
//
//	rotate:run.jsonl?mb=100&every=24h&keep=7&compress=gzip
func parseRotate(s string) (path string, o rotatefile.Options, err error) {
	path, query, _ := strings.Cut(s, "?")
	if path == "" {
		return "", o, fmt.Errorf("the path is missing: write rotate:PATH")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", o, err
	}
	for key := range values {
		value := values.Get(key)
		switch key {
		case "format":
			o.Format = logring.Format(value)
		case "mb":
			o.Megabytes, err = strconv.Atoi(value)
		case "every":
			o.Every, err = time.ParseDuration(value)
		case "at":
			o.At = strings.Split(value, ",")
		case "keep":
			o.Keep, err = strconv.Atoi(value)
		case "days":
			o.KeepDays, err = strconv.Atoi(value)
		case "total":
			var mb int64
			mb, err = strconv.ParseInt(value, 10, 32)
			o.KeepTotal = mb << 20
		case "compress":
			o.Compress = value
		default:
			return "", o, fmt.Errorf("rotate has no option %q: use format, mb, every, at, keep, days, total (MB) or compress", key)
		}
		if err != nil {
			return "", o, fmt.Errorf("rotate: %s=%s is not understood: give a number, or as in every=24h", key, value)
		}
	}
	return path, o, nil
}
