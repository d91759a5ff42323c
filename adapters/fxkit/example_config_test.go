package fxkit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/cfgblob"
)

// settings are a configuration with types of its own.
type settings struct {
	Region  region            `json:"region" check:"required"`
	URLs    map[string]string `json:"urls"`
	Timeout time.Duration     `json:"timeout"`
}

// A region reads itself from its text, as any encoding.TextUnmarshaler.
type region string

func (r *region) UnmarshalText(text []byte) error {
	if len(text) != 2 {
		return errors.New("a region has two letters")
	}
	*r = region(strings.ToUpper(string(text)))
	return nil
}

// Values are converted by their types, once for each version: durations, and whatever
// has an UnmarshalText. What is required has to be there, and what cannot be converted
// is not published.
func Example_convertedValues() {
	for _, doc := range []string{
		`{"region":"eu","timeout":"1m30s"}`,
		`{"region":"europe"}`,
		`{"timeout":"soon","region":"eu"}`,
		`{}`,
	} {
		store, err := cfgblob.NewStore(cfgblob.StoreOptions{Name: "job", Type: reflect.TypeFor[settings]()}, []byte(doc))
		if err != nil {
			fmt.Println(err)
			continue
		}
		defer store.Close()
		live, err := cfgblob.Bind[settings](store)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(live.Load().Region, live.Load().Timeout.Seconds())
	}
	// Output:
	// EU 90
	// cfgblob: "job": rejected, nothing is published: key "region": expects a string (fxkit_test.region), has a string that is none
	// cfgblob: "job": rejected, nothing is published: key "timeout": expects a duration such as "1m30s", or an integer of nanoseconds, has a string that is none
	// cfgblob: "job": rejected, nothing is published: key "region" is required and missing: expects a string (fxkit_test.region)
}

// A value that another provider, or another value, chooses: config.urls[region].
func Example_configByKey() {
	type endpoint string
	graph(func(e endpoint) { fmt.Println(e) },
		fx.Supply(cfgblob.Fixed(settings{URLs: map[string]string{"EU": "https://eu.example", "US": "https://us.example"}})),
		fx.Provide(func() region { return "US" }),
		fx.Provide(func(c *cfgblob.Live[settings], r region) (endpoint, error) {
			url, ok := c.Load().URLs[string(r)]
			if !ok {
				return "", fmt.Errorf("no URL for region %q", r)
			}
			return endpoint(url), nil
		}))
	// Output:
	// https://us.example
}

// Another configuration for a test, in the worker processes too. The owner's is not
// read, and need not fit.
func ExampleConfig() {
	o, remove := here()
	defer remove()
	for _, env := range [][]string{nil, fxkit.With(noCipher)} {
		untilEnd(fx.New(
			fxkit.Node(o),
			fxkit.Workers(shmkit.Spec{Func: tellsCipher, Workers: 1, Env: env}),
			fx.NopLogger,
		))
	}
	// Output:
	// msg=configured worker=0 cipher=rot13
	// msg=configured worker=0 cipher=none
}

var (
	tellsCipher = fxkit.Func("tells-cipher", func(log *slog.Logger, cfg *cfgblob.Live[config]) error {
		log.Info("configured", "cipher", cfg.Load().Cipher)
		return nil
	}, fxkit.Config[config]())

	noCipher = fxkit.Override("no-cipher", fx.Replace(cfgblob.Fixed(config{Cipher: "none"})))
)

// What takes time is a function with a context: who calls it says how long.
func Example_coroutine() {
	type fetch func(ctx context.Context, name string) (string, error)
	graph(func(get fetch) {
		ctx, cancel := context.WithCancel(context.Background())
		fmt.Println(get(ctx, "ada"))
		cancel()
		fmt.Println(get(ctx, "grace"))
	},
		fx.Supply(map[string]string{"ada": "Lovelace", "grace": "Hopper"}),
		fx.Provide(func(names map[string]string) fetch {
			return func(ctx context.Context, name string) (string, error) {
				answer := make(chan string, 1)
				if ctx.Err() == nil {
					go func() { answer <- names[name] }()
				}
				select {
				case a := <-answer:
					return a, nil
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}
		}))
	// Output:
	// Lovelace <nil>
	//  context canceled
}
