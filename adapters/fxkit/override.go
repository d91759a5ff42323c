package fxkit

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.uber.org/fx"
)

// envOverrides tells a worker which overrides apply: names between commas.
const envOverrides = "SHMKIT_FX_OVERRIDES"

// overrides are the registered ones. Written while packages are initialized, only
// read after that.
var overrides = map[string][]fx.Option{}

// Override registers options under a name, which it returns: [fx.Replace] for a
// value, [fx.Decorate] for a constructor that takes the place of another or wraps
// it, [fx.Provide] for what is not there otherwise. What is replaced is not run.
// Register in a package-level variable, of a test file for instance, so that the
// worker, which is the same program once more, has it too; [With] says for which
// workers it holds:
//
//	var fakeClock = fxkit.Override("fake-clock", fx.Replace(fx.Annotate(clock{}, fx.As(new(Clock)))))
//
//	group, err := fxkit.Start(node, shmkit.Spec{Func: count, Workers: 4, Env: fxkit.With(fakeClock)})
//
// An override holds for the whole graph. fx takes one decorator for a type at each
// level: options of [Func] that decorate a type, too, have to be in an [fx.Module].
func Override(name string, options ...fx.Option) string {
	if name == "" || strings.ContainsAny(name, ",=\x00") {
		panic(fmt.Sprintf("fxkit: override %q: give it a name without commas", name))
	}
	if _, dup := overrides[name]; dup {
		panic("fxkit: override " + name + " registered twice")
	}
	overrides[name] = options
	return name
}

// With returns the entry of Spec.Env by which workers are built with overrides, in
// this order. It panics on a name that is not registered.
func With(names ...string) []string {
	if _, err := overrideOptions(names); err != nil {
		panic(err)
	}
	return []string{envOverrides + "=" + strings.Join(names, ",")}
}

// overridesIn returns the names that an environment asks for.
func overridesIn(env []string) []string {
	for _, kv := range slices.Backward(env) { // the last one counts
		if list, ok := strings.CutPrefix(kv, envOverrides+"="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// overridesHere returns those that this worker was started with. What it starts
// itself is not meant.
func overridesHere() ([]fx.Option, error) {
	names := overridesIn(os.Environ())
	os.Unsetenv(envOverrides)
	return overrideOptions(names)
}

func overrideOptions(names []string) ([]fx.Option, error) {
	var all []fx.Option
	for _, name := range names {
		options, ok := overrides[name]
		if !ok {
			return nil, fmt.Errorf("fxkit: override %q is not registered (there are: %s): register it with fxkit.Override in a package-level variable",
				name, strings.Join(slices.Sorted(maps.Keys(overrides)), ", "))
		}
		all = append(all, options...)
	}
	return all, nil
}
