// Package bench measures shmkit side by side with what people would use instead.
//
//	make bench
//
// Every comparison runs its parties in turn within one benchmark (A B A B …) on
// the same machine, with the same payload and run-time values, in real second
// processes where the subject has them, and reports the median of the rounds of
// each party and the median of the ratios of the turns. Absolute figures move with the
// machine; ratios move less. On a machine with four cores or more the parties that are two
// processes, or threads, are pinned to the same two (pinPair).
//
// report runs them and makes tables and pictures of the results; compare tells
// whether a tree has become slower. barlist.go, rowlist.go and curvelist.go in
// report say which figure is shown where.
//
// A party that is not installed is skipped with a plain message. All of them are
// there with Debian's packages g++, libboost-dev, libreaderwriterqueue-dev,
// libspdlog-dev, libiceoryx-posh-dev, libiceoryx-hoofs-dev, iceoryx, lttng-tools,
// liblttng-ust-dev, python3 and valgrind. quill is in no distribution: see BenchmarkQuill.
package bench
