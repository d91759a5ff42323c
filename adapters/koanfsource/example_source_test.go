package koanfsource_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"shmkit/adapters/koanfsource"
	"shmkit/cfgblob"
)

// Server is a configuration with a required type for each key.
type Server struct {
	Host  string `json:"host"`
	Port  int    `json:"port"`
	Level string `json:"level"`
	Token string `json:"token" secret:"true"`
}

// All sources, later ones over earlier ones: defaults, a YAML file with variables in
// it, the environment, and the command line. What no key stands for is an error, and
// what cannot be used leaves the old configuration in use.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "koanfsource")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "server.yaml")
	put := func(text string) { os.WriteFile(path, []byte(text), 0o600) }
	put("host: ${EXAMPLE_HOST:localhost}\nport: ${EXAMPLE_PORT:8080}\n")
	os.Setenv("EXAMPLE_LEVEL", "debug")
	defer os.Unsetenv("EXAMPLE_LEVEL")

	keys := cfgblob.KeysOf[Server]()
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	commandLine := cfgblob.Flags(flags, keys)
	flags.Parse([]string{"-token=s3cret"})

	store, err := cfgblob.NewStore(cfgblob.StoreOptions{
		Name: "server",
		Type: reflect.TypeFor[Server](),
		Sources: []cfgblob.Source{
			cfgblob.Defaults(Server{Port: 80, Level: "info"}),
			cfgblob.Expand(koanfsource.File(path), keys),
			cfgblob.Env("EXAMPLE_", keys),
			commandLine,
		},
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	live, err := cfgblob.Bind[Server](store)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := live.Load()
	fmt.Println(c.Host, c.Port, c.Level, len(c.Token))

	for _, text := range []string{"prot: 9090\n", "host: x\nport: [9090]\n", "port: 9090\n"} {
		put(text)
		version, err := store.Reload(context.Background())
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), dir+"/", ""))
			continue
		}
		fmt.Println("version", version, "port", live.Load().Port)
	}
	// Output:
	// localhost 8080 debug 6
	// cfgblob: "server": rejected, version 1 stays: server.yaml, line 1: unknown key "prot": did you mean "port"?
	// cfgblob: "server": rejected, version 1 stays: server.yaml, line 2: key "port": expects an integer, has an array of 1
	// version 2 port 9090
}
