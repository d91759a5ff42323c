package fxkit

import (
	"errors"
	"fmt"
	"reflect"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/cfgblob"
)

// Config lets a worker ask for *cfgblob.Live[T], the run's configuration decoded
// into a T and always current. Like all configuration it is shared. A configuration
// that does not fit T is an error before any worker is started ([CheckSpec]).
//
// For a test, [fx.Replace] of cfgblob.Fixed takes its place, also in worker processes
// ([Override]).
func Config[T any]() fx.Option {
	n := need{fmt.Sprintf("configuration as %v of %s", reflect.TypeFor[T](), reflect.TypeFor[T]().PkgPath()), configFits[T]}
	return fx.Options(n.declare(), fx.Provide(fx.Annotate(
		func(w *shmkit.Worker, _ fromOwner) (*cfgblob.Live[T], error) { return shmkit.Bind[T](w) },
		fx.ParamTags("", n.tag()))))
}

// configFits does in the owner what the first worker will do.
func configFits[T any](o owner) (err error) {
	group := o.spec.Group
	if group == "" {
		group = o.spec.Func
	}
	files, words, lease, err := o.node.Config().Donate(group, 0, max(o.spec.Workers, 1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Close()) }()
	reader, err := cfgblob.Attach(files, words)
	if err != nil {
		return err
	}
	defer reader.Close()
	if _, err := cfgblob.Bind[T](reader); err != nil {
		return fmt.Errorf("the owner's configuration is no %v: %w", reflect.TypeFor[T](), err)
	}
	return nil
}
