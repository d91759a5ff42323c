package shmkit

import (
	"errors"
	"fmt"

	"shmkit/cfgblob"
)

// byControl is the author of what is changed through the control socket. Who is
// at its other end is this user, by the permissions of the runtime directory.
const byControl = "control socket"

// configAnswer does what a client asks of the configuration. No answer holds a
// secret.
func configAnswer(store *cfgblob.Store, r request) answer {
	who, err := cfgblob.ParseAudience(r.For)
	if err != nil {
		return failure(err)
	}
	changed := func(version uint64, err error) answer {
		if err != nil {
			return failure(err)
		}
		return answer{Version: version}
	}
	switch r.Op {
	case opGet:
		if r.For != "" {
			return valueAt(store.SnapshotFor(who), r.Key)
		}
		return valueAt(store.Snapshot(), r.Key)
	case opSet, opCanary:
		return setValue(store, who, r)
	case opUnset:
		return changed(store.UnsetFor(who, byControl, r.Key, r.IfVersion))
	case opReset:
		return changed(store.Reset(who, byControl, r.Key, r.IfVersion))
	case opPromote:
		return changed(store.Promote(byControl))
	case opAbandon:
		return changed(store.Abandon(byControl))
	case opHistory:
		return answer{Version: store.Version(), History: store.History()}
	case opDiff:
		changes, err := store.Diff(r.From, r.To)
		if err != nil {
			return failure(err)
		}
		return answer{Version: store.Version(), Changes: changes}
	case opRollback:
		return changed(store.Rollback(byControl, r.To, r.IfVersion))
	case opExplain:
		origins, err := store.Explain(who, r.Key)
		if err != nil {
			return failure(err)
		}
		return answer{Version: store.VersionFor(who), Origins: origins}
	case opValidate:
		return changed(store.Version(), store.Check(r.Value))
	}
	return answer{Error: fmt.Sprintf("unknown request %q: client and node are of different versions", r.Op)}
}

func setValue(store *cfgblob.Store, who cfgblob.Audience, r request) answer {
	value, err := cfgblob.DecodeValue(r.Value)
	if err != nil {
		return failure(err)
	}
	_, err = store.SnapshotFor(who).Get(r.Key)
	created := errors.Is(err, cfgblob.ErrNoKey)
	var version uint64
	if r.Op == opCanary {
		version, err = store.Canary(who, byControl, r.IfVersion, func(doc map[string]any) error {
			return cfgblob.Put(doc, r.Key, value)
		})
	} else {
		version, err = store.SetFor(who, byControl, r.Key, value, r.IfVersion)
	}
	if err != nil {
		return failure(err)
	}
	return answer{Version: version, Created: created}
}

// valueAt is the value of key in a snapshot, or the whole document for "".
func valueAt(s cfgblob.Snapshot, key string) answer {
	value, err := s.Shown(key)
	if err != nil {
		return failure(err)
	}
	return answer{Version: s.Version, Value: value}
}

func failure(err error) answer { return answer{Error: err.Error(), Code: cfgblob.Code(err)} }
