package call

import (
	"encoding/binary"
	"fmt"
)

// enter gives a call its number, also in its message, and notes who waits for it.
func (c *Conn) enter(msg []byte) (id uint32, answer chan frame) {
	answer = make(chan frame, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.last++
		if _, used := c.calls[c.last]; !used {
			break
		}
	}
	c.calls[c.last] = answer
	binary.LittleEndian.PutUint32(msg, c.last)
	return c.last, answer
}

// leave forgets a call that was not sent.
func (c *Conn) leave(id uint32) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
	<-c.slots
}

// abandon asks the owner to cancel a call for which nobody waits any more. Its
// slot is given back when the owner has answered all the same.
func (c *Conn) abandon(id uint32) {
	c.mu.Lock()
	_, waiting := c.calls[id]
	if waiting {
		c.calls[id] = nil
	}
	c.mu.Unlock()
	if waiting {
		go c.link.send(c.ctx, newMessage(frame{id: id, kind: kindCancel}))
	}
}

// take hands an answer to whoever waits for it.
func (c *Conn) take(f frame) error {
	if f.kind != kindResult && f.kind != kindError {
		return fmt.Errorf("message of kind %d from the owner: restart the worker with the owner's build", f.kind)
	}
	c.mu.Lock()
	answer, ok := c.calls[f.id]
	delete(c.calls, f.id)
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("answer to call %d, which was not made: restart the worker with the owner's build", f.id)
	}
	<-c.slots
	if answer != nil {
		f.body = append([]byte(nil), f.body...) // the buffer is used again
		answer <- f
	}
	return nil
}
