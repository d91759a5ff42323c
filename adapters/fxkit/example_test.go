package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/call"
	"shmkit/cfgblob"
	"shmkit/logring"
)

// here are options of a node whose records are printed, without what changes from
// run to run.
func here() (o shmkit.Options, remove func()) {
	dir, err := os.MkdirTemp("", "fxkit")
	if err != nil {
		panic(err)
	}
	stable := func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, "pid", "group":
			return slog.Attr{}
		}
		return a
	}
	return shmkit.Options{
		Name: "example", Dir: dir, Config: config{Level: "info", Cipher: "rot13"},
		Sinks: []logring.Sink{logring.FromHandler(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: stable}))},
	}, func() { os.RemoveAll(dir) }
}

// untilEnd is app.Run without the os.Exit.
func untilEnd(app *fx.App) {
	if err := app.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	end := <-app.Wait()
	if err := app.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
	if end.ExitCode != 0 {
		fmt.Println("exit code", end.ExitCode)
	}
}

type dictionary struct{ words []string }

// openDictionary stands for what has to be opened and closed: a database, a file.
func openDictionary(lc fx.Lifecycle, log *slog.Logger) *dictionary {
	d := &dictionary{}
	lc.Append(fx.StartStopHook(
		func() { d.words = []string{"alpha", "beta"}; log.Info("opened") },
		func() { d.words = nil; log.Info("closed") },
	))
	return d
}

var reads = fxkit.Func("reads",
	func(ctx context.Context, log *slog.Logger, cfg *cfgblob.Live[config], d *dictionary, rank fxkit.Rank) error {
		log.Info("reading", "words", len(d.words), "cipher", cfg.Load().Cipher)
		return ctx.Err()
	},
	fxkit.Config[config](),
	fx.Provide(openDictionary),
)

// An owner, and a worker process that is given what it asks for.
func Example() {
	o, remove := here()
	defer remove()
	untilEnd(fx.New(
		fxkit.Node(o),
		fxkit.Workers(shmkit.Spec{Func: reads, Workers: 1}),
		fx.NopLogger,
	))
	// Output:
	// msg=opened worker=0
	// msg=reading worker=0 words=2 cipher=rot13
	// msg=closed worker=0
}

// A singleton of the graph is made once in each worker process: per-worker scope.
func Example_perWorker() {
	o, remove := here()
	defer remove()
	untilEnd(fx.New(
		fxkit.Node(o),
		fxkit.Workers(shmkit.Spec{Func: numbers, Workers: 2}),
		fx.NopLogger,
	))
	// Unordered output:
	// msg=numbers worker=0 one=1 two=1
	// msg=numbers worker=1 one=1 two=1
}

var made atomic.Int64 // in each process its own

type number int64

type pair struct {
	fx.In
	One number
	Two number
}

var numbers = fxkit.Func("numbers", func(log *slog.Logger, p pair) error {
	log.Info("numbers", "one", int64(p.One), "two", int64(p.Two))
	return nil
}, fx.Provide(func() number { return number(made.Add(1)) }))

// A worker built with other parts than the ones it declares: in a test, say.
func ExampleOverride() {
	o, remove := here()
	defer remove()
	untilEnd(fx.New(
		fxkit.Node(o),
		fxkit.Workers(shmkit.Spec{Func: reads, Workers: 1, Env: fxkit.With(smallDictionary)}),
		fx.NopLogger,
	))
	// Output:
	// msg=reading worker=0 words=1 cipher=rot13
}

var smallDictionary = fxkit.Override("small-dictionary", fx.Replace(&dictionary{words: []string{"omega"}}))

// A graph that lacks something is found before any worker is started.
func ExampleCheck() {
	fmt.Println(fxkit.Check(reads))
	fmt.Println(fxkit.Check(lost))
	fmt.Println(fxkit.Check(lost, findsWay))
	// Output:
	// <nil>
	// fxkit: worker function "lost" cannot be built: missing type: fxkit_test.way: add its provider to the options of fxkit.Func, or an override
	// <nil>
}

type way string

var (
	lost     = fxkit.Func("lost", func(way) error { return nil })
	findsWay = fxkit.Override("finds-way", fx.Supply(way("north")))
)

// What a worker function is built from, as a picture: here, what one of its parts is
// made of. For all of it: os.WriteFile("reads.dot", []byte(dot), 0o644), and then
// dot -Tsvg reads.dot.
func ExampleGraph() {
	dot, err := fxkit.Graph(reads)
	if err != nil {
		fmt.Println(err)
		return
	}
	var number string
	for line := range strings.Lines(string(dot)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, `label="openDictionary"`) {
			number, _, _ = strings.Cut(line, " ")
		}
		if edge, ok := strings.CutPrefix(line, number+" -> "); ok && number != "" {
			needs, _, _ := strings.Cut(edge, " ")
			fmt.Println("openDictionary needs", needs)
		}
	}
	// Output:
	// openDictionary needs "fx.Lifecycle"
	// openDictionary needs "*slog.Logger"
}

// Purse is what workers may do with the owner's purse: take, but not fill it.
type Purse struct {
	Take func(ctx context.Context, n int) (left int, err error)
}

type purse struct{ coins atomic.Int64 }

func (p *purse) Take(ctx context.Context, n int) (int, error) {
	if left := p.coins.Add(int64(-n)); left >= 0 {
		return int(left), nil
	}
	p.coins.Add(int64(n))
	return 0, errEmptyPurse
}

var errEmptyPurse = errors.New("the purse is empty")

func init() { call.RegisterError("fxkit_test.errEmptyPurse", errEmptyPurse) }

var takes = fxkit.Func("takes", func(ctx context.Context, log *slog.Logger, p Purse) error {
	for {
		left, err := p.Take(ctx, 2)
		if errors.Is(err, errEmptyPurse) {
			return nil
		}
		if err != nil {
			return err
		}
		log.Info("took 2", "left", left)
	}
}, fxkit.Proxy[Purse]("purse"))

// Functions that run in the owner, called by a worker.
func ExampleServe() {
	o, remove := here()
	defer remove()
	p := new(purse)
	p.coins.Store(5)
	untilEnd(fx.New(
		fxkit.Node(o),
		fx.Supply(p),
		fxkit.Serve[Purse](call.Options{Name: "purse"}, func(p *purse) Purse { return Purse{Take: p.Take} }),
		fxkit.Workers(shmkit.Spec{Func: takes, Workers: 1}),
		fx.NopLogger,
	))
	fmt.Println(p.coins.Load(), "left")
	// Output:
	// msg="took 2" worker=0 left=3
	// msg="took 2" worker=0 left=1
	// 1 left
}

var obeys = fxkit.Func("obeys", func(log *slog.Logger, limits *cfgblob.Reader) error {
	rate, err := limits.Get("rate")
	log.Info("limits", "rate", rate)
	return err
}, fxkit.Shared("limits", cfgblob.Attach))

// A configuration of its own beside the run's, in shared memory.
func ExampleShare() {
	o, remove := here()
	defer remove()
	untilEnd(fx.New(
		fxkit.Node(o),
		fxkit.Share[*cfgblob.Store]("limits", func() (*cfgblob.Store, error) {
			return cfgblob.NewStore(cfgblob.StoreOptions{Name: "limits"}, []byte(`{"rate":7}`))
		}),
		fxkit.Workers(shmkit.Spec{Func: obeys, Workers: 1}),
		fx.NopLogger,
	))
	// Output:
	// msg=limits worker=0 rate="7"
}
