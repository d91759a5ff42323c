package logring

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// Policy is what a worker's log call does when there is no room for its record.
type Policy int

const (
	Block   Policy = iota // wait, at most [CollectorOptions.MaxWait], then drop and count
	DropNew               // drop the new record and count it

	// OverwriteOldest drops the oldest records that the node has not collected yet
	// and counts them: the call never waits, and what is newest is kept. Records
	// with this policy have a ring of their own in the worker's memory, of a quarter
	// of RingSize, or all of it if the other rings have nothing to do.
	OverwriteOldest
)

var policyNames = map[Policy]string{Block: "block", DropNew: "drop", OverwriteOldest: "overwrite"}

func (p Policy) String() string {
	if n, ok := policyNames[p]; ok {
		return n
	}
	return fmt.Sprintf("Policy(%d)", int(p))
}

func (p Policy) check() error {
	if _, ok := policyNames[p]; !ok {
		return fmt.Errorf("logring: Policy %d: choose Block, DropNew or OverwriteOldest", int(p))
	}
	return nil
}

// policies say what holds from which level on: the highest level first. Below all of
// them base holds.
type policies struct {
	base  Policy
	above []levelPolicy
}

type levelPolicy struct {
	level  slog.Level
	policy Policy
}

func newPolicies(base Policy, above map[slog.Level]Policy) policies {
	p := policies{base: base}
	for level, policy := range above {
		p.above = append(p.above, levelPolicy{slog.Level(wireLevel(level)), policy})
	}
	slices.SortFunc(p.above, func(a, b levelPolicy) int { return cmp.Compare(b.level, a.level) })
	return p
}

func (p *policies) of(level slog.Level) Policy {
	for _, x := range p.above {
		if level >= x.level {
			return x.policy
		}
	}
	return p.base
}

// have reports whether any level has the policy.
func (p *policies) have(policy Policy) bool {
	return p.base == policy || slices.ContainsFunc(p.above, func(x levelPolicy) bool { return x.policy == policy })
}

// String is the form that workers are told: "block" or "block,8:drop,0:overwrite".
func (p policies) String() string {
	s := []string{p.base.String()}
	for _, x := range p.above {
		s = append(s, fmt.Sprintf("%d:%v", int(x.level), x.policy))
	}
	return strings.Join(s, ",")
}

// parsePolicies reads it.
func parsePolicies(s string) (p policies, err error) {
	for i, word := range strings.Split(s, ",") {
		level, name, leveled := strings.Cut(word, ":")
		if !leveled {
			name = level
		}
		policy, n := Policy(-1), 0
		for q, qn := range policyNames {
			if qn == name {
				policy = q
			}
		}
		if leveled {
			n, err = strconv.Atoi(level)
		}
		if policy < 0 || err != nil || leveled != (i > 0) {
			return p, fmt.Errorf("unknown policy %q", word)
		}
		if leveled {
			p.above = append(p.above, levelPolicy{slog.Level(n), policy})
		} else {
			p.base = policy
		}
	}
	return p, nil
}
