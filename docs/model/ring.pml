/*
 * The ring of package ring, with blocking on both sides: records that exist when
 * the tail passes them, and the protocol by which each side sleeps and is woken.
 * Each side may die once, at any point, and has a successor.
 *
 * A record is two words, so that it can be torn, and takes one place of CAP. Its
 * content is its position, so a duplicate, a gap or a torn record shows.
 *
 * Checked:
 *	- each record that the consumer reads is whole, and is the one of that position;
 *	- nobody sleeps for ever: all RECORDS arrive, or spin finds an invalid end state;
 *	- the producer wakes at most once for each time that the consumer fell asleep.
 *
 *	-DWEAK			arm64 instead of amd64, see memory.pml
 *	-DPRODUCER_DIES		the producer is killed at any point and gets a successor
 *	-DCONSUMER_DIES		the same for the consumer
 *	-DBELL			the consumer waits for a bell that stays rung (Sleep and Awake,
 *				as a collector of many rings does), not on the tail
 * Weakened, each of which has to fail:
 *	-DNO_FENCE		no store-load barrier between tail and the look at asleep
 *	-DBELL -DNO_SLEEP_FENCE	none between asleep and the second look at the tail
 *	-DNO_COMPARE		the kernel parks without comparing the word
 *	-DTAIL_FIRST		the tail is stored before the record
 *	-DHEAD_FIRST		space is given back before the record is read
 *	-DWASTED_WAKE		the producer wakes a consumer that has read everything, and
 *				counts that as the wake of this sleep
 *	-DNO_ATTACH_WAKE	a successor does not look whether the other side sleeps
 */
#ifndef CAP
#define CAP	2
#endif
#ifndef RECORDS
#define RECORDS	3
#endif

#define PROCS	2
#define P	0	/* the producer's buffer */
#define C	1	/* the consumer's */

#define WORDS	(6 + 2*CAP)
#define TAIL	0	/* producer */
#define HEAD	1	/* consumer */
#define CASLEEP	2	/* consumer; odd: asleep */
#define PASLEEP	3	/* producer; odd: asleep, waiting for space */
#define PWAKEAT	4	/* producer: the head that ends its sleep */
#define CWAKEAT	5	/* consumer: the tail that ends its sleep */
#define DATA(pos, i) (6 + ((pos) % CAP) * 2 + (i))	/* producer */

#include "memory.pml"

/* The kernel's side of the two futexes. Entering it is a full barrier; comparing
 * and parking is one step with respect to waking. */
bool cparked, pparked;

#ifdef NO_COMPARE
#define SAME(w, old) true
#else
#define SAME(w, old) (mem[w] == (old))
#endif

inline futexWait(me, w, old, parked) {
	fence(me);
	atomic {
		if
		:: SAME(w, old) -> parked = true
		:: else -> skip
		fi
	}
	!parked
}

inline futexWake(me, parked) {
	fence(me);
	parked = false
}

/* Where the consumer sleeps: parked on the tail, or before a bell. */
#ifdef BELL
bool bell;
#define sleepOn(old)	fence(C); atomic { bell -> bell = false }
#define wakeUp()	fence(P); bell = true
#else
#define sleepOn(old)	futexWait(C, TAIL, old, cparked)
#define wakeUp()	futexWake(P, cparked)
#endif

bool pkilled, pburied, ckilled, cburied;
#ifndef PRODUCER_DIES
byte epochs, wakes;	/* how often the consumer fell asleep, and was woken */
#define fellAsleep()	epochs++
#define wokeUp()	d_step { wakes++; assert(wakes <= epochs) }
#else
#define fellAsleep()	skip	/* a successor may have to wake once more */
#define wokeUp()	skip
#endif

inline flush() {
	if
	:: tail != flushed ->
		flushed = tail;
		ring()
	:: else -> skip
	fi
}

inline ring() {
#ifndef NO_FENCE
	fence(P);
#endif
	e = mem[CASLEEP];
	if
	:: e % 2 == 1 && e != rang ->
		if
#ifndef WASTED_WAKE
		:: mem[CWAKEAT] > tail -> skip	/* it has read everything */
#endif
		:: else ->
			rang = e;
			wokeUp();
			wakeUp()
		fi
	:: else -> skip
	fi
}

proctype Producer(bool mortal) {
	byte tail, flushed, seen, asleep, rang, e, h;
	{
		/* attach: own words, and where the consumer is */
		tail = mem[TAIL]; flushed = tail;
		seen = mem[HEAD];
		asleep = mem[PASLEEP];
		if
		:: asleep % 2 == 1 -> asleep++; store(P, PASLEEP, asleep, RELEASE)
		:: else -> skip
		fi;
#ifndef NO_ATTACH_WAKE
		ring();	/* the last one may have died between its commit and its flush */
#endif
		do
		:: tail < RECORDS ->
			/* reserve */
			do
			:: tail - seen < CAP -> break
			:: else ->
				seen = mem[HEAD];
				if
				:: tail - seen < CAP -> break
				:: else -> skip
				fi;
				flush();
				/* park */
				store(P, PWAKEAT, tail + 1 - CAP, RELEASE);
				asleep++; store(P, PASLEEP, asleep, RELEASE);
				fence(P);
				h = mem[HEAD];
				if
				:: h == seen -> futexWait(P, HEAD, h, pparked)
				:: else -> skip
				fi;
				asleep++; store(P, PASLEEP, asleep, RELEASE)
			od;
			/* commit */
#ifdef TAIL_FIRST
			store(P, TAIL, tail+1, RELEASE);
#endif
			store(P, DATA(tail, 0), tail+1, PLAIN);
			store(P, DATA(tail, 1), tail+1, PLAIN);
#ifndef TAIL_FIRST
			store(P, TAIL, tail+1, RELEASE);
#endif
			tail++;
			if	/* a burst may go on without */
			:: flush()
			:: skip
			fi
		:: else -> break
		od;
		flush()
	} unless {
		mortal && pkilled ->
		fence(P);		/* a dead process has left its processor, */
		pparked = false;	/* and the kernel's queue */
		pburied = true
	}
}

inline giveBack() {
	store(C, HEAD, pos, RELEASE);
	fence(C);
	wakeProducer()
}

inline wakeProducer() {
	e = mem[PASLEEP];
	if
	:: e % 2 == 1 && e != rang ->
		if
		:: mem[PWAKEAT] <= pos ->
			rang = e;
			futexWake(C, pparked)
		:: else -> skip
		fi
	:: else -> skip
	fi
}

proctype Consumer(bool mortal) {
	byte pos, tail, asleep, rang, e, v, w;
	{
		pos = mem[HEAD];	/* what was read and not released comes again */
		asleep = mem[CASLEEP];
		if
		:: asleep % 2 == 1 -> asleep++; store(C, CASLEEP, asleep, RELEASE)
		:: else -> skip
		fi;
#ifndef NO_ATTACH_WAKE
		fence(C);
		wakeProducer();	/* the last one may have died between its head and its wake */
#endif
		do
		:: pos == RECORDS -> break
		:: else ->
			tail = mem[TAIL];
			if
			:: tail != pos ->
				assert(tail - pos <= CAP);
#ifdef HEAD_FIRST
				store(C, HEAD, tail, RELEASE);
#endif
				do	/* a batch: one record, or more */
				:: v = mem[DATA(pos, 0)];
				   w = mem[DATA(pos, 1)];
				   assert(v == pos+1 && w == pos+1);
				   pos++;
				   if
				   :: pos == tail -> break
				   :: pos != tail -> break
				   :: pos != tail -> skip
				   fi
				od;
				v = 0; w = 0;
				giveBack()
			:: else ->
				/* sleep */
				store(C, CWAKEAT, pos+1, RELEASE);
				asleep = asleep | 1;
				fellAsleep();
				store(C, CASLEEP, asleep, RELEASE);
#ifndef NO_SLEEP_FENCE
				fence(C);
#endif
				tail = mem[TAIL];
				if
				:: tail == pos -> sleepOn(tail)
				:: else -> skip
				fi;
				asleep++; store(C, CASLEEP, asleep, RELEASE)
			fi
		od
	} unless {
		mortal && ckilled ->
		fence(C);
		cparked = false;
		cburied = true
	}
}

proctype Killer() {
#ifdef PRODUCER_DIES
	if
	:: pkilled = true
	:: skip
	fi;
#endif
#ifdef CONSUMER_DIES
	if
	:: ckilled = true
	:: skip
	fi
#endif
	skip
}

init {
	atomic {
		run Memory(P); run Memory(C);
		run Producer(true); run Consumer(true);
		run Killer()
	}
end:	do
	:: atomic { pburied -> pburied = false; run Producer(false) }
	:: atomic { cburied -> cburied = false; run Consumer(false) }
	od
}
