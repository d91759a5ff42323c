package ring

// AskAhead says whether a producer asks for the memory that it is going to write.
func (p *Producer) AskAhead(asks bool) { p.asks = asks }
