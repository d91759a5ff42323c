package main

// A proof is a test that shows what no figure can: that something never happens. The
// counts are those of SHMKIT_STRESS=1; without it the same test runs fewer rounds.
type proof struct{ Area, What, Test string }

var proofs = []proof{
	{"ring", "either side killed at a random moment: nothing committed is lost, the counts go on", "ring.TestKillEitherSide"},
	{"ring", "the producer stepped through each instruction of commit, wrap and full, and recovered from each", "ring.TestStepWrite"},
	{"ring", "hostile and damaged images: typed errors, no panic", "ring.FuzzImage, ring.FuzzLive"},
	{"seqlock", "no read is a mixture of two versions, between processes", "seqlock.TestTwoProcesses"},
	{"seqlock", "the publisher killed: the last version is readable at once, a successor goes on", "seqlock.TestKill"},
	{"seqlock", "the publisher stepped through each instruction", "seqlock.TestStepPublish"},
	{"shm", "1,000 openers over a killed owner's name: one reclaims it, the others attach", "shm.TestThousandOpenersOverAKilledOwner"},
	{"logring", "workers killed under load: every record whose call returned is there once", "logring.TestKilledWorkers"},
	{"logring", "the same for many lanes, and for policies that drop and overwrite", "logring.TestKilledLanes, logring.TestKilledUnderEachPolicy"},
	{"logring", "a sink that fails at every N-th operation: the account is exact, nothing is there twice", "logring.TestWriteFaults, logring.TestSQLFaults, logring.TestSyslogFaults"},
	{"logring", "a level set in the node acts on a running worker", "logring.TestLevelChangesLive"},
	{"cfgblob", "reads under a publisher without a pause, two processes: no mixed version", "cfgblob.TestHammer"},
	{"cfgblob", "the publisher stepped through each instruction and killed: the last good version is served", "cfgblob.TestPublisherStepped, cfgblob.TestPublisherKilled"},
	{"cfgblob", "16 writers with compare-and-set: no lost update", "cfgblob.TestCompareAndSetLosesNothing"},
	{"cfgblob", "writes by a worker, every path: denied, or documented in docs/PROTECTION.md", "cfgblob.TestWorkerCannotWrite"},
	{"cfgblob", "secrets in whatever a store says of a document: none", "cfgblob.FuzzSecrets"},
	{"spawn", "server killed: no process of its workers is alive a second later", "spawn.TestKilledServerLeavesNobody"},
	{"spawn", "ends of all kinds: the right code and signal", "spawn.TestExitCodesAndSignals"},
	{"spawn", "threads of the server end meanwhile: no worker dies of it", "spawn.TestThreadsEndWorkersLive"},
	{"spawn", "start and stop, over and over: no descriptor, thread or goroutine more", "spawn.TestNothingAccumulates"},
	{"spawn", "racing starters: one server, nobody fails for another reason", "spawn.TestSingletonRace"},
	{"spawn", "the restart rules equal their model in random sequences of failures", "spawn.TestRestartRulesEqualTheModel"},
	{"dataio", "database/sql's own tests, direct and forwarded: the same pass and fail", "dataio/sqlproxy.TestSuiteOfDatabaseSQL"},
	{"dataio", "workers killed inside transactions: none stays open", "dataio/sqlproxy.TestWorkerKilled"},
	{"dataio", "node or database dies at each step: nothing is executed twice", "dataio/sqlproxy.TestNothingIsExecutedTwice"},
	{"dataio", "100 workers on 4 connections: never more are open, Jain's index at least 0.95", "dataio/sqlproxy.TestFairness"},
	{"dataio", "16 inserters into SQLite: none is told that it is busy", "adapters/sqlitedb.TestSixteenInserters"},
	{"dataio", "hostile frames: no panic, no leak", "dataio/sqlproxy.FuzzRequests"},
	{"dataio", "8 workers append: every record is there, none torn, each worker's in order", "dataio/recfile.TestManyWorkers"},
	{"examples", "totals of the main job equal an independent count; files, rows and counters agree", "examples/wordcount.TestTheWholeJob"},
	{"cmd", "foreign programs: every line once, in order, with its rank, also of workers that kill themselves", "cmd/shmkit.TestEveryLineOnce, cmd/shmkit.TestKilledWorkersLoseNothing"},
}
