package ring

// AskAhead sets how far behind its tail a producer asks for memory; 0 is the line it
// has just written.
func (p *Producer) AskAhead(bytes uint64) { p.ahead = bytes }
