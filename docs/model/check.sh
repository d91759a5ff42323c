#!/bin/sh
# Checks all models with spin: the good ones must hold, the weakened ones must
# fail for the reason given. Needs spin and a C compiler, takes about a minute, and
# leaves nothing behind.
#
# Exit code: 0 all as it must be, 1 not, 77 spin or the compiler is missing.
set -u
command -v spin >/dev/null || { echo "spin is missing: Debian package spin" >&2; exit 77; }
CC=${CC:-cc}
command -v "$CC" >/dev/null || { echo "$CC is missing: Debian package gcc" >&2; exit 77; }

here=$(cd "$(dirname "$0")" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
failed=0

# check EXPECTED MODEL [-DNAME…]: EXPECTED is "holds", "torn" (an assertion is
# violated) or "stuck" (somebody sleeps for ever: spin's invalid end state).
check() {
	expected=$1 model=$2
	shift 2
	rm -f ./*
	cp "$here"/*.pml . || exit 1
	if ! spin -a "$@" "$model.pml" >spin.out 2>&1 ||
		! "$CC" -O1 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c >cc.out 2>&1; then
		cat spin.out cc.out 2>/dev/null
		found=broken
	else
		./pan -m100000 >pan.out 2>&1
		if grep -q 'errors: 0$' pan.out && ! grep -q 'max search depth too small\|not completed\|out of memory' pan.out; then
			found=holds
		elif grep -q 'assertion violated' pan.out; then
			found=torn
		elif grep -q 'invalid end state (' pan.out; then
			found=stuck
		else
			cat pan.out
			found=broken
		fi
	fi
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out 2>/dev/null)
	if [ "$found" = "$expected" ]; then
		printf 'ok    %-9s %-5s %9s states  %s\n' "$model" "$found" "${states:-?}" "$*"
	else
		printf 'FAIL  %-9s %-5s must be %s  %s\n' "$model" "$found" "$expected" "$*"
		failed=1
	fi
}

# The latch.
check holds latch -DN=4
check holds latch -DN=4 -DWEAK
check holds latch -DN=3
check holds latch -DN=3 -DWEAK
check torn latch -DGENEROUS
check torn latch -DONE_SLOT
check torn latch -DPUBLISH_FIRST
check torn latch -DWEAK -DNO_DMB
check torn latch -DEARLY_LOAD

# The ring, sleeping and waking.
check holds ring
check holds ring -DWEAK
check holds ring -DBELL
check holds ring -DCAP=1 -DRECORDS=2 -DPRODUCER_DIES
check holds ring -DCAP=1 -DRECORDS=2 -DPRODUCER_DIES -DWEAK
check holds ring -DCAP=1 -DRECORDS=2 -DCONSUMER_DIES
check holds ring -DCAP=1 -DRECORDS=2 -DCONSUMER_DIES -DWEAK
check stuck ring -DNO_FENCE
check stuck ring -DBELL -DNO_SLEEP_FENCE
check stuck ring -DNO_COMPARE
check stuck ring -DWASTED_WAKE
check stuck ring -DCAP=1 -DRECORDS=2 -DPRODUCER_DIES -DNO_ATTACH_WAKE
check stuck ring -DCAP=1 -DRECORDS=2 -DCONSUMER_DIES -DNO_ATTACH_WAKE
check torn ring -DTAIL_FIRST
check torn ring -DHEAD_FIRST

# The ring, overwriting the oldest records.
check holds overwrite
check holds overwrite -DWEAK
check torn overwrite -DEVICT_LATE
check torn overwrite -DWEAK -DNO_DMB
check torn overwrite -DEARLY_LOAD

exit $failed
