package call

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"
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

// await returns an answer. There is no goroutine that reads for all: one of those who
// wait does, until it has its own, and then another. So the one who waits alone, as
// most do, is woken by what it waits for and not by somebody who was. (Known as
// leader and followers: Schmidt and others, Pattern-Oriented Software Architecture 2.)
func (c *Conn) await(ctx context.Context, answer chan frame) (frame, error) {
	select {
	case f := <-answer:
		return f, nil
	case <-ctx.Done():
		return frame{}, ctx.Err()
	case <-c.ctx.Done():
		select {
		case f := <-answer: // it came before the end
			return f, nil
		default:
			return frame{}, context.Cause(c.ctx)
		}
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }() // whoever waits for it reads on
		return c.lead(ctx, answer)
	}
}

// lead reads until answer is there, or ctx ends.
func (c *Conn) lead(ctx context.Context, answer chan frame) (frame, error) {
	gaveUp := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(gaveUp)
		c.link.conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-gaveUp
			c.link.conn.SetReadDeadline(time.Time{})
		}
	}()
	for {
		select {
		case f := <-answer:
			return f, nil
		default:
		}
		if err := c.readOne(); err == os.ErrDeadlineExceeded {
			return frame{}, ctx.Err()
		} else if err != nil {
			return frame{}, err
		}
	}
}

// readOne takes one message. The caller has the token. An error but that of a deadline
// ends the connection.
func (c *Conn) readOne() error {
	f, err := c.link.next(c.buf)
	if err == nil {
		err = c.take(f)
	}
	switch err {
	case nil, os.ErrDeadlineExceeded:
		return err
	case io.EOF:
		err = ErrGone
	}
	c.end(err)
	c.link.close()
	return context.Cause(c.ctx)
}

// abandon asks the owner to cancel a call for which nobody waits any more. Its slot
// is given back when the owner has answered all the same.
func (c *Conn) abandon(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waiting := c.calls[id]; !waiting {
		return
	}
	c.calls[id] = nil
	c.orphans++
	go c.link.send(c.ctx, newMessage(frame{id: id, kind: kindCancel}))
	if !c.draining {
		c.draining = true
		go c.drain()
	}
}

// drain reads as long as there are answers for which nobody waits: the owner shall be
// rid of them.
func (c *Conn) drain() {
	select {
	case c.reading <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	defer func() { <-c.reading }()
	for {
		c.mu.Lock()
		c.draining = c.orphans > 0
		done := !c.draining
		c.mu.Unlock()
		if done || c.readOne() != nil {
			return
		}
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
	if ok && answer == nil {
		c.orphans--
	}
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
