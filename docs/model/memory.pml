/*
 * Memory as two processors see it through store buffers.
 *
 * A store goes into the buffer of the process that makes it and becomes visible
 * to the others later, when Memory takes it out. A load takes what is in memory.
 * No load looks into a buffer: each shared word has one writer, and that writer
 * works with its private copy.
 *
 * TSO (default, amd64): the buffer is a queue. Stores become visible in program
 * order, later than loads that follow them in the program.
 *
 * WEAK (-DWEAK, arm64): a plain store may overtake earlier ones to other words, a
 * release store as well. A release store (STLR) overtakes nothing. Loads are made
 * in program order: all loads of shared words are LDAR.
 *
 * The including file defines PROCS and WORDS.
 */
#define DEPTH	4	/* stores a buffer holds */
#define PLAIN	false
#define RELEASE	true

typedef Buffer {
	byte n;
	byte word[DEPTH];
	byte value[DEPTH];
	bool release[DEPTH];
}

byte mem[WORDS];
Buffer buf[PROCS];

inline store(me, w, v, rel) {
	atomic {
		buf[me].n < DEPTH ->
		buf[me].word[buf[me].n] = w;
		buf[me].value[buf[me].n] = v;
		buf[me].release[buf[me].n] = rel;
		buf[me].n++
	}
}

/* A full barrier: what was stored is visible before anything that follows is done. */
inline fence(me) { buf[me].n == 0 }

/* Memory takes one store after the other out of a buffer, any time. It goes on
 * after the death of the process: what was stored will be seen. */
proctype Memory(byte me) {
	byte i, j;
end:	do
	:: atomic {
		buf[me].n > 0 ->
		i = 0;
#ifdef WEAK
		do	/* which one? */
		:: i + 1 < buf[me].n -> i++
		:: break
		od;
		j = 0;
		do	/* it may not overtake a store to the same word, nor be a release store */
		:: j < i && (buf[me].word[j] == buf[me].word[i] || buf[me].release[i]) -> goto stay
		:: j < i && !(buf[me].word[j] == buf[me].word[i] || buf[me].release[i]) -> j++
		:: j >= i -> break
		od;
#endif
		mem[buf[me].word[i]] = buf[me].value[i];
		buf[me].n--;
		do
		:: i < buf[me].n ->
			buf[me].word[i] = buf[me].word[i+1];
			buf[me].value[i] = buf[me].value[i+1];
			buf[me].release[i] = buf[me].release[i+1];
			i++
		:: else -> break
		od;
		/* equal states are to look equal */
		buf[me].word[i] = 0; buf[me].value[i] = 0; buf[me].release[i] = false;
stay:		i = 0; j = 0
	   }
	od
}
