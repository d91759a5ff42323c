// Package cfgblob shares one configuration between the processes of a job: one
// process owns and changes it, any number of others read it, always current, at
// the price of a memory load.
//
//	type Config struct {
//		Level   string `json:"level"`
//		Workers int    `json:"workers"`
//	}
//
//	// The owner.
//	store, err := cfgblob.NewStore(cfgblob.StoreOptions{
//		Name:     "wordcount",
//		Validate: cfgblob.Strict[Config](),
//	}, []byte(`{"level":"info","workers":4}`))
//	version, err := store.Set("cli", "level", "debug", 0)
//
//	// A worker, with what store.Donate gave to it.
//	reader, err := cfgblob.Attach(files, words)
//	live, err := cfgblob.Bind[Config](reader) // or reader.Dict().Int("workers")
//	if live.Load().Level == "debug" { … } // a few nanoseconds, no allocation
//
// What holds:
//
//  1. All or nothing. A reader sees one whole version, never a mixture of two,
//     and versions never go back.
//  2. Validate, then publish. A document that is refused does not move the
//     version.
//  3. No reader waits for the owner. If it is stopped or killed, at whatever
//     instruction, the last good version stays readable.
//  4. Workers cannot write: their mapping is read-only and the segment is sealed,
//     so that nothing can make it writable.
//  5. No update is lost: a change can be made dependent on the version that was
//     read before ([ConflictError]).
//  6. A watcher never misses the last version, and costs nothing while it sleeps.
//  7. Bytes from shared memory are copied out, bounded and verified (once per
//     version) before they are used.
//
// A configuration is a JSON object. Keys keep their case and are matched in
// exactly that case; a key that appears twice is an error; numbers keep every
// digit. [Merge] and [Assign] put one together from defaults, files and a command
// line; [Lookup] describes the paths by which single values are named.
//
// # Where values come from
//
// A store reads its sources in the order in which they are declared, and lays what
// they hold on top of each other:
//
//	keys := cfgblob.KeysOf[Config]()
//	store, err := cfgblob.NewStore(cfgblob.StoreOptions{
//		Type: reflect.TypeFor[Config](), // strict, with the rules and secrets in its tags
//		Sources: []cfgblob.Source{
//			cfgblob.Defaults(Config{Level: "info"}),
//			cfgblob.File("/etc/job.json"),
//			cfgblob.Env("JOB_", keys),
//			cfgblob.Flags(flag.CommandLine, keys),
//			cfgblob.For(cfgblob.Audience{Group: "train"}, cfgblob.File("train.json")),
//		},
//	}, nil)
//	store.Follow() // files that change
//
// What is changed while the store runs ([Store.Set] and its like) comes on top, for
// everybody, a group or a rank; [Store.Explain] tells which layer a value is from.
// Every version is kept for a while: [Store.History], [Store.Diff],
// [Store.Rollback]. [Store.Canary] shows a change to some workers first. Workers ask
// for changes by [Reader.Set], as far as StoreOptions.Grants let them.
//
// Values that must not be seen by people are marked in the type (a field of type
// [Secret], or the tag secret:"true") or by StoreOptions.Secrets. Programs read
// them; whatever is made for people shows [Redacted].
//
// # Memory
//
// A Store reserves about four times StoreOptions.Size (the latch has four slots)
// and the header page of the segment; when a document outgrows that, a segment at
// least twice as large takes its place, up to MaxSize. Each document that some
// workers have to themselves takes a segment of its own. History costs what was
// changed. A process that reads holds one copy
// of the current document, and the parsed form if paths are looked up or values
// decoded. Snapshots and decoded values live in ordinary memory and stay valid
// for ever.
//
// # Format
//
// The bytes are a public format, so that a program in another language can read
// a configuration: map the file that a worker got (read-only), check the header
// page, then do what follows. All integers are little-endian.
//
// The segment's header page (package shm) has kind "CFGB", schema hash
// 0x4247464300000001 (the magic and the format below),
// and at offset 48 the offset (u64) and length (u64) of the region. At the
// start of the region lies a latch (package seqlock, bytes form):
//
//	 0  u64  V, number of the latch's current version; 0: none yet
//	 8  u32  P, bytes that a slot can hold
//	12  u32  N, number of slots
//	16  u32  form, "SLB1"
//	128      slot 0, slot 1, … slot N−1, each ((P+7)/8·8 + 8) bytes long,
//	         rounded up to a multiple of 128
//
// A slot is a u64 length L ≤ P and L bytes. To read: load V (acquire); copy L and
// L bytes from slot V mod N; load V again (after the copy) as V2; the copy is
// good if V2 − V ≤ N − 2, otherwise start again. To wait for a change: a shared
// FUTEX_WAIT on the lower half of V, at offset 0.
//
// The bytes of a version are a header and the document:
//
//	 0  u32       magic 0x42474643, the bytes "CFGB"
//	 4  u16       format, 1; refuse any other
//	 6  u16       H, size of this header and offset of the document, 128 or more
//	 8  u64       xxhash64 (seed 0) of everything from offset 16 to the end
//	16  u64       version of the configuration, from 1; never goes back
//	24  i64       time of publication, nanoseconds since 1970-01-01 UTC
//	32  u64       schema hash of the configuration's type; 0: not given
//	40  u64       size of the document in bytes, L − H
//	48  u64       flags, 0; ignore those you do not know
//	56  u16       A, bytes of the author's name, at most 64
//	58  6 bytes   0
//	64  64 bytes  the author's name in UTF-8, A bytes and then 0
//	128  u32 S, and S bytes: if H is 136 or more, paths of secrets, one a line
//	 H            the document
//
// The document is one JSON object (RFC 8259) in UTF-8: keys sorted by their
// bytes, no key twice in one object, no white space between tokens, not nested
// deeper than 64. The version of the configuration is the one to show to people;
// the latch counts the publications of its segment and need not agree with it.
//
// # Compatibility
//
// Readers refuse a format that they do not know. Within format 1 the header may
// grow at its end and flags may gain a meaning that a reader can ignore.
package cfgblob
