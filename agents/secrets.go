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
type secrets struct{ *connectors.Guard }

// secretsOf begins with what is watched already.
func secretsOf(req Request) secrets {
	if req.Guard != nil {
		return secrets{req.Guard}
	}
	return secrets{new(connectors.Guard)}
}

// error changes errors of connectors only; no others are shown.
func (s secrets) error(err error) error {
	if e, ours := errors.AsType[*connectors.Error](err); ours && s.Guard != nil {
		return s.Error(e)
	}
	return err
}

// clean makes a value storable and takes the secrets out, so that what another attempt
// reads is the same.
func (s secrets) clean(raw json.RawMessage) (json.RawMessage, error) {
	clean, err := connectors.CleanJSON(raw)
	if err != nil {
		return nil, err
	}
	return s.JSON(clean), nil
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
	w.send(w.secrets.Text(w.held[:cut]))
	w.held = w.held[cut:]
}

// end sends what is left.
func (w *words) end() {
	if w.held != "" {
		w.send(w.secrets.Text(w.held))
		w.held = ""
	}
}

// cut finds how much can be sent: what begins before it has been seen whole, and no
// secret lies across it.
func (w *words) cut() int {
	cut := len(w.held) - max(w.secrets.Longest()-1, 0)
	whole := w.secrets.Text(w.held)
	for ; cut > 0; cut-- {
		if utf8.RuneStart(w.runeAt(cut)) && (w.secrets.Longest() == 0 || w.secrets.Text(w.held[:cut])+w.secrets.Text(w.held[cut:]) == whole) {
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
