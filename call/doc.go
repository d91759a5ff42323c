// Package call lets a worker process call a few functions of the process that
// owns it, as if they were its own.
//
// What is offered is a struct of functions. Both sides know the type; the owner
// fills it in, and only what it fills in can be called:
//
//	type Counter struct {
//		Add func(ctx context.Context, n int) (int, error)
//		Get func(ctx context.Context) (int, error)
//	}
//
//	// The owner. The worker will not be able to Reset, only to do these two.
//	server, err := call.Serve(call.Options{Name: "counter"}, Counter{Add: c.Add, Get: c.Get})
//
//	// The worker, with what server.Donate gave to it.
//	conn, err := call.Attach(files, words)
//	counter, err := call.Bind[Counter](conn)
//	total, err := counter.Add(ctx, 2) // runs in the owner
//
// A test sets the fields to what it likes. (The shape is that of filecoin's
// go-jsonrpc: no generated code, and method values are checked by the compiler.)
// Where code asks for an interface, the command shmkit/call/proxygen makes one of it:
// the struct with the interface's methods, and a type that implements it over calls.
//
// What holds:
//
//  1. A call runs at most once. An [*Error] says whether it may have run: Sent.
//  2. The caller's context travels along: its end is that of the context of the
//     function in the owner, a deadline also by its time. So is the end of the
//     worker: at the latest when it is dead, its calls are cancelled.
//  3. The owner's errors are found by errors.Is and errors.As where they are
//     registered ([RegisterError], [RegisterErrorType]), and keep their text always.
//  4. A worker, however hostile, costs the owner one descriptor, one goroutine that
//     reads, and at most 2·Options.MaxCalls goroutines with a message each, of at most
//     Options.MaxMessage bytes. What does not keep to the protocol loses its
//     connection, and is logged.
//  5. Who calls is known by the socket ([CallerOf]), never from what a message says.
//  6. A function that panics fails that call only.
//
// Each function takes a [context.Context] first and returns an error last. All other
// parameters and results travel as encoding/json writes them, a []byte as it is.
//
// # Memory and order
//
// Calls of one worker run at the same time, in no order but that one which begins
// after another has returned comes after it. Arguments and results are copies and
// belong to whoever gets them. A message is at most [MaxMessage] bytes; larger
// things belong into shared memory.
//
// # Format
//
// A worker has a SOCK_SEQPACKET socket of its own; a message is a record on it,
// little-endian:
//
//	 0  u32  number of the call, chosen by the worker, not in use
//	 4  u16  kind: 1 call, 2 cancel (from the worker); 3 result, 4 error (from the owner)
//	 6  u16  call: index of the method in the words "m=…"; else 0
//	 8  u64  call: time left in nanoseconds, 0 for no deadline; else 0
//	16       call and result: the values, each a u32 length and its bytes;
//	         error: a JSON object
//
// The words are call=1, name=…, calls=MaxCalls, bytes=MaxMessage and, in the order
// of their index, m=METHOD/SIGNATURE for each function that this worker may call.
package call
