package shmkit_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"shmkit"
	"shmkit/dataio/recfile"
	"shmkit/logring"
)

type greeting struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}

var greet = shmkit.Func("greet", func(ctx context.Context, w *shmkit.Worker) error {
	cfg := shmkit.Config[greeting](w)
	w.Log.Info(cfg.Load().Text, "rank", w.Rank, "of", w.Size)
	w.Log.Debug("not at this level")
	return nil
})

// A node with one worker process. In a program, main begins with shmkit.Main.
func Example() {
	stable := func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "pid" {
			return slog.Attr{}
		}
		return a
	}
	sink := logring.FromHandler(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: stable}))

	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir:    filepath.Join(os.TempDir(), fmt.Sprintf("shmkit-example-%d", os.Getpid())),
		Config: greeting{Level: "info", Text: "hello"},
		Sinks:  []logring.Sink{sink},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	group, err := node.Start(shmkit.Spec{Func: greet, Workers: 1})
	if err == nil {
		err = group.Wait()
	}
	closeErr := node.Close() // from here on everything is written
	fmt.Println(err, closeErr)
	s := node.Stats()
	fmt.Println("attempted", s.Attempted, "delivered", s.Delivered)
	// Output:
	// level=INFO msg=hello group=greet worker=0 rank=0 of=1
	// <nil> <nil>
	// attempted 1 delivered 1
}

// Another process of the same user reads and changes the configuration; here the
// same process stands in for it.
func ExampleDial() {
	ctx := context.Background()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("shmkit-dial-%d", os.Getpid()))
	node, err := shmkit.Start(ctx, shmkit.Options{Name: "dialled", Dir: dir, Config: greeting{Level: "info", Text: "hello"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()

	client, err := shmkit.Dial(ctx, shmkit.DialOptions{Run: "dialled", Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	value, version, err := client.Get(ctx, "text")
	fmt.Println(string(value), version, err)
	change, err := client.Set(ctx, "text", "good evening", version)
	fmt.Println(change.Version, err)
	_, err = client.Set(ctx, "txet", "good night", 0)
	fmt.Println(err)
	// Output:
	// "hello" 1 <nil>
	// 2 <nil>
	// cfgblob: "dialled.config": rejected, version 2 stays: unknown key "txet": did you mean "text"?
}

var appendRows = shmkit.Func("append-rows", func(ctx context.Context, w *shmkit.Worker) error {
	return w.File("rows.csv").AppendContext(ctx, fmt.Appendf(nil, "%d,%d", w.Rank, w.Rank*w.Rank))
})

// Workers append to a file of the node's. It appears when the run is over, and went well.
func ExampleWorker_File() {
	dir, err := os.MkdirTemp("", "shmkit-file-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "rows.csv")
	node, err := shmkit.Start(context.Background(), shmkit.Options{
		Dir:   filepath.Join(dir, "run"),
		Files: map[string]recfile.Options{"rows.csv": {Path: path, Header: []byte("rank,square")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	group, err := node.Start(shmkit.Spec{Func: appendRows, Workers: 1})
	if err == nil {
		err = group.Wait()
	}
	_, unfinished := os.Stat(path)
	fmt.Println(err, os.IsNotExist(unfinished))
	fmt.Println(node.Close(), node.FileStats("rows.csv").Written)
	b, err := os.ReadFile(path)
	fmt.Printf("%q %v\n", b, err)
	// Output:
	// <nil> true
	// <nil> 1
	// "rank,square\n0,0\n" <nil>
}
