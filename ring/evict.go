package ring

// evict makes room for size bytes by giving up the oldest records.
//
// The consumer does not take part: it copies records out and then asks whether
// they were still kept. So the new oldest record is announced before the space of
// the old one is written to.
func (p *Producer) evict(size uint64) error {
	for p.tail+size-p.oldest.pos > p.region.capacity {
		s, err := p.sizeAt(p.oldest.pos, p.tail)
		if err != nil {
			return err
		}
		p.oldest.pos += s
		p.oldest.records++
	}
	// Stored here, loaded by the consumer after it copied (fill). Makes visible:
	// that what is before oldest is no more. storeStore keeps the stores into that
	// space behind it (arm64: DMB ISHST; amd64 keeps stores in order).
	p.region.prod.oldest.store(p.oldest)
	storeStore()
	p.limit = p.oldest.pos + p.region.capacity
	return nil
}
