/*
 * The N-slot latch of package seqlock: a writer that publishes versions and may
 * die at any point, its successor, and a reader that reads twice.
 *
 * Checked: an accepted copy is whole and of the version that the reader says, and
 * versions do not go back.
 *
 *	-DN=4			slots
 *	-DWEAK			arm64 instead of amd64, see memory.pml
 * Weakened, each of which has to fail:
 *	-DGENEROUS		one version more is accepted
 *	-DONE_SLOT		the published slot is the one that is filled
 *	-DPUBLISH_FIRST		the version goes up before the slot is filled
 *	-DWEAK -DNO_DMB		arm64 without the barrier between publication and next fill
 *	-DEARLY_LOAD		the second load of the version is made before the copy
 */
#ifdef ONE_SLOT
#define N	1
#define SPAN	0
#endif
#ifndef N
#define N	4	/* DefaultSlots */
#endif
#ifdef GENEROUS
#define SPAN	(N-1)
#endif
#ifndef SPAN
#define SPAN	(N-2)	/* how many versions a copy may be behind when it ends */
#endif

#define VERSIONS (2*N+1)	/* every slot is used twice, one three times */
#define PARTS	2		/* words of a slot: all it takes to tear it */

#define PROCS	1
#define WORDS	(1 + N*PARTS)
#define PUB	0
#define SLOT(v, i) (1 + ((v) % N) * PARTS + (i))

#include "memory.pml"

bool killed, buried;	/* the first writer */

/* storeFence: DMB ISHST on arm64, nothing on amd64. As the writer loads nothing
 * that others store, waiting is the same as ordering. */
inline storeFence() {
#if defined(WEAK) && !defined(NO_DMB)
	fence(0)
#else
	skip
#endif
}

inline fill() {
	i = 0;
	do
	:: i < PARTS -> store(0, SLOT(last+1, i), last+1, PLAIN); i++
	:: else -> break
	od
}

inline publish() { store(0, PUB, last+1, RELEASE) }

proctype Writer(bool mortal) {
	byte last, i;
	{
		last = mem[PUB];	/* a successor goes on here */
		do
		:: last < VERSIONS ->
			storeFence();
#ifdef PUBLISH_FIRST
			publish(); fill();
#else
			fill(); publish();
#endif
			last++
		:: else -> break
		od
	} unless {
		mortal && killed ->
		fence(0);	/* a dead process has left its processor */
		buried = true
	}
}

proctype Killer() {
	if
	:: killed = true
	:: skip
	fi
}

proctype Reader() {
	byte p, q, w[PARTS], i, reads, newest;
	do
	:: reads < 2 ->
		reads++;
		p = mem[PUB];
		if
		:: p == 0 -> skip	/* nothing published yet */
		:: else ->
#ifdef EARLY_LOAD
			q = mem[PUB];
#endif
			i = 0;
			do
			:: i < PARTS -> w[i] = mem[SLOT(p, i)]; i++
			:: else -> break
			od;
#ifndef EARLY_LOAD
			q = mem[PUB];
#endif
			if
			:: q - p <= SPAN ->
				i = 0;
				do
				:: i < PARTS -> assert(w[i] == p); i++
				:: else -> break
				od;
				assert(p >= newest);
				newest = p
			:: else -> skip	/* overtaken: read again */
			fi
		fi
	:: else -> break
	od
}

init {
	atomic {
		run Memory(0); run Reader(); run Killer(); run Writer(true)
	}
end:	buried -> run Writer(false)

}
