package llm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/10ex/flows/connectors"
)

// maxEvent bounds one event of a stream.
const maxEvent = 4 << 20

// errEnough ends the reading of a stream that has said all.
var errEnough = errors.New("the stream has said all")

// readEvents gives the data of each server-sent event to fn until the stream ends or
// fn returns an error. That is returned, but for errEnough.
func readEvents(ctx context.Context, r io.Reader, fn func(data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
	var data []byte
	give := func() error {
		if len(data) == 0 {
			return nil
		}
		err := fn(data)
		data = data[:0]
		return err
	}
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if err := give(); err != nil {
				return enough(err)
			}
			continue
		}
		// Comments, ids and names of events say nothing that the data does not.
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return connectors.Permanent(connectors.CodeTooLarge, "the model's server sent an event that is too large")
		}
		return connectors.NetworkError(ctx, err)
	}
	if err := give(); err != nil { // some servers leave the last empty line out
		return enough(err)
	}
	return connectors.NetworkError(ctx, io.ErrUnexpectedEOF)
}

func enough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// partial gathers calls that arrive in pieces, by the index that the server gives them.
type partial struct {
	order []int
	calls map[int]*Call
}

func (p *partial) at(index int) *Call {
	if p.calls == nil {
		p.calls = map[int]*Call{}
	}
	c := p.calls[index]
	if c == nil {
		c = &Call{}
		p.calls[index] = c
		p.order = append(p.order, index)
	}
	return c
}

func (p *partial) all() []Call {
	var out []Call
	for _, i := range p.order {
		out = append(out, *p.calls[i])
	}
	return out
}
