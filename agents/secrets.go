package agents

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/10ex/flows/connectors"
)

// secrets takes those of all connections in use out of what comes back.
type secrets []*connectors.Redactor

func (s secrets) add(c *connectors.Connection) secrets {
	if r := c.Redactor(); r != nil {
		return append(s, r)
	}
	return s
}

func (s secrets) text(v string) string {
	for _, r := range s {
		v = r.Text(v)
	}
	return v
}

func (s secrets) json(v json.RawMessage) json.RawMessage {
	for _, r := range s {
		v = r.JSON(v)
	}
	return v
}

// error changes errors of connectors only; no others are shown.
func (s secrets) error(err error) error {
	if e, ours := errors.AsType[*connectors.Error](err); ours {
		err = e
		for _, r := range s {
			err = r.Error(err)
		}
	}
	return err
}

func (s secrets) longest() int {
	n := 0
	for _, r := range s {
		n = max(n, r.Longest())
	}
	return n
}

// clean makes a value storable and takes the secrets out, so that what another attempt
// reads is the same.
func (s secrets) clean(raw json.RawMessage) (json.RawMessage, error) {
	clean, err := connectors.CleanJSON(raw)
	if err != nil {
		return nil, err
	}
	return s.json(clean), nil
}

// batch is how long words are gathered before they are sent on.
const batch = 100 * time.Millisecond

// words sends on what a model says while it says it, without secrets: it holds back as
// much as a secret may still be hidden in.
type words struct {
	secrets secrets
	send    func(string)
	nowFunc func() time.Time

	held string // not yet redacted
	last time.Time
	size int // of everything so far
}

// add takes a piece.
func (w *words) add(piece string) {
	w.size += len(piece)
	w.held += piece
	now := w.nowFunc()
	if now.Sub(w.last) < batch {
		return
	}
	cut := w.cut()
	if cut == 0 {
		return
	}
	w.last = now
	w.send(w.secrets.text(w.held[:cut]))
	w.held = w.held[cut:]
}

// end sends what is left.
func (w *words) end() {
	if w.held != "" {
		w.send(w.secrets.text(w.held))
		w.held = ""
	}
}

// cut finds how much can be sent: what begins before it has been seen whole, and no
// secret lies across it.
func (w *words) cut() int {
	cut := len(w.held) - max(w.secrets.longest()-1, 0)
	whole := w.secrets.text(w.held)
	for ; cut > 0; cut-- {
		if utf8.RuneStart(w.runeAt(cut)) && (len(w.secrets) == 0 || w.secrets.text(w.held[:cut])+w.secrets.text(w.held[cut:]) == whole) {
			return cut
		}
	}
	return 0
}

func (w *words) runeAt(at int) byte {
	if at == len(w.held) {
		return 0 // the end is a good place unless a rune is cut there, which JSON does not allow
	}
	return w.held[at]
}

// openText is a text to be read by people and models, cut where it is too long.
func openText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.TrimSpace(s[:most]) + " […]"
}
