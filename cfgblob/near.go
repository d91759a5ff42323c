package cfgblob

import "strings"

// closest returns the candidate that was probably meant by name, "" if none is
// near: one that differs in case only, else the one with the fewest typing
// mistakes, at most a third of its length.
func closest(name string, candidates []string) string {
	best, bestCost := "", 0
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return c
		}
		limit := max(1, min(len(name), len(c))/3)
		if len(c)-len(name) > limit || len(name)-len(c) > limit || len(name) > 64 {
			continue
		}
		cost := mistakes(strings.ToLower(name), strings.ToLower(c))
		if cost > limit {
			continue
		}
		cost = cost<<8 + mistakes(name, c) // of equals, the one in the right case
		if best == "" || cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// mistakes is the optimal string alignment distance of a and b, in bytes:
// insertions, deletions, replacements and swapped neighbours count one each.
func mistakes(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
