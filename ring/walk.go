package ring

// lengthAt returns the payload length of the record at pos, and whether that
// record can be one that ends at or before end.
func (r *region) lengthAt(pos, end uint64) (n uint64, ok bool) {
	n = loadOnce(word(r.base, pos&r.mask)) & (1<<32 - 1)
	return n, n <= uint64(r.maxRecord) && sizeOf(n) <= end-pos
}

// count returns how many records there are from one position to another. If
// one of them cannot be, it returns false and where that one is.
func (r *region) count(from, to uint64) (n, at uint64, ok bool) {
	for from != to {
		l, ok := r.lengthAt(from, to)
		if !ok {
			return n, from, false
		}
		from += sizeOf(l)
		n++
	}
	return n, to, true
}
