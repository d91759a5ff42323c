/*
 * The ring of package ring under OverwriteOldest: the producer never waits, and
 * takes the space of the oldest records, read or not. The consumer copies first and
 * then asks which record is the oldest that is kept.
 *
 * Checked: each record that the consumer accepts is whole and the one of that
 * position, in order; and the last one arrives.
 *
 *	-DWEAK			arm64 instead of amd64, see memory.pml
 * Weakened, each of which has to fail:
 *	-DEVICT_LATE		the oldest record is announced after its space was taken
 *	-DWEAK -DNO_DMB		arm64 without the barrier between the two
 *	-DEARLY_LOAD		the oldest record is asked for before the copy
 */
#ifndef CAP
#define CAP	2
#endif
#ifndef RECORDS
#define RECORDS	5
#endif

#define PROCS	1
#define WORDS	(2 + 2*CAP)
#define TAIL	0
#define OLDEST	1
#define DATA(pos, i) (2 + ((pos) % CAP) * 2 + (i))

#include "memory.pml"

/* storeStore: DMB ISHST on arm64, nothing on amd64. As this side loads nothing
 * that the other stores, waiting is the same as ordering. */
inline storeStore() {
#if defined(WEAK) && !defined(NO_DMB)
	fence(0)
#else
	skip
#endif
}

proctype Producer() {
	byte tail, oldest;
	do
	:: tail < RECORDS ->
#ifndef EVICT_LATE
		if
		:: tail + 1 - oldest > CAP -> oldest++; store(0, OLDEST, oldest, RELEASE); storeStore()
		:: else -> skip
		fi;
#endif
		store(0, DATA(tail, 0), tail+1, PLAIN);
		store(0, DATA(tail, 1), tail+1, PLAIN);
#ifdef EVICT_LATE
		if
		:: tail + 1 - oldest > CAP -> oldest++; store(0, OLDEST, oldest, RELEASE); storeStore()
		:: else -> skip
		fi;
#endif
		store(0, TAIL, tail+1, RELEASE);
		tail++
	:: else -> break
	od
}

proctype Consumer() {
	byte pos, tail, oldest, n, i;
	byte copy[2*CAP];
	do
	:: pos == RECORDS -> break
	:: else ->
		mem[TAIL] != pos ->	/* there is something to read */
		tail = mem[TAIL];
#ifdef EARLY_LOAD
		oldest = mem[OLDEST];
#endif
		n = 0;
		do
		:: n < 2*CAP && pos + n/2 < tail -> copy[n] = mem[DATA(pos + n/2, n%2)]; n++
		:: else -> break
		od;
#ifndef EARLY_LOAD
		oldest = mem[OLDEST];
#endif
		if
		:: oldest <= pos ->
			i = 0;
			do
			:: i < n -> assert(copy[i] == pos + i/2 + 1); i++
			:: else -> break
			od;
			pos = pos + n/2
		:: else -> pos = oldest	/* a gap, told to the caller */
		fi
	od
}

init {
	atomic { run Memory(0); run Producer(); run Consumer() }
}
