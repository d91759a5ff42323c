package cfgblob

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Audience chooses workers by group and rank. The zero Audience is everybody,
// the owner and the command line included.
type Audience struct {
	Group string // name of the group; "" or "*": every group
	Ranks []int  // within the group; none: all of them
}

// ParseAudience reads what String writes: "train", "train/0,3", "*/0", or "" for
// everybody.
func ParseAudience(s string) (Audience, error) {
	group, ranks, some := strings.Cut(s, "/")
	a := Audience{Group: group}
	if group == "*" && !some {
		return Audience{}, nil
	}
	if some {
		for _, text := range strings.Split(ranks, ",") {
			rank, err := strconv.Atoi(text)
			if err != nil || rank < 0 {
				return Audience{}, fmt.Errorf("cfgblob: audience %q: %q is no rank: write GROUP, GROUP/0,3 or */0", s, text)
			}
			a.Ranks = append(a.Ranks, rank)
		}
	}
	return a.normal(), nil
}

// String is the group and the ranks, as in "train/0,3"; "" for everybody.
func (a Audience) String() string {
	a = a.normal()
	if len(a.Ranks) == 0 {
		return a.Group
	}
	ranks := make([]string, len(a.Ranks))
	for i, r := range a.Ranks {
		ranks[i] = strconv.Itoa(r)
	}
	group := a.Group
	if group == "" {
		group = "*"
	}
	return group + "/" + strings.Join(ranks, ",")
}

// normal makes equal audiences equal values.
func (a Audience) normal() Audience {
	if a.Group == "*" {
		a.Group = ""
	}
	a.Ranks = slices.Compact(slices.Sorted(slices.Values(a.Ranks)))
	return a
}

func (a Audience) everybody() bool { return (a.Group == "" || a.Group == "*") && len(a.Ranks) == 0 }

// rank of precedence: the more an audience says, the later it has its say.
func (a Audience) weight() int {
	w := 0
	if a.Group != "" {
		w++
	}
	if len(a.Ranks) > 0 {
		w += 2
	}
	return w
}

// A member is a worker that a document is for; the zero member is nobody in particular.
type member struct {
	group string
	rank  int
	known bool
}

func (a Audience) has(w member) bool {
	if a.everybody() {
		return true
	}
	return w.known && (a.Group == "" || a.Group == w.group) && (len(a.Ranks) == 0 || slices.Contains(a.Ranks, w.rank))
}

// sample is some worker of the audience.
func (a Audience) sample() member {
	if a.everybody() {
		return member{}
	}
	w := member{group: a.Group, known: true}
	if len(a.Ranks) > 0 {
		w.rank = a.Ranks[0]
	}
	return w
}
