package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
)

// Question is what a link to an approval leads to.
type Question struct {
	Workspace models.WorkspaceID
	Run       models.RunID
	Step      string
	// Attempt is the attempt that asks whether to be made again; 0: a wait.
	Attempt int
	// Until is when the link ends.
	Until time.Time
}

const (
	// maxLinkAge is how long a link is good where the wait has no earlier end.
	maxLinkAge = 7 * 24 * time.Hour
	// linkPurpose keeps tokens of links apart from any others.
	linkPurpose = "approval link"
	// linkParts is how many words stand in a token.
	linkParts = 5
)

// strictly takes one spelling of every token: changed bits that say nothing are refused.
var strictly = base64.RawURLEncoding.Strict()

// token writes a question down so that only a holder of the ring could have. What is
// said comes first: a token that was cut off lacks the proof.
func (q Question) token(ring *seal.Ring) string {
	said := strings.Join([]string{
		string(q.Workspace), string(q.Run), q.Step, strconv.Itoa(q.Attempt), strconv.FormatInt(q.Until.Unix(), 10),
	}, ".")
	return strictly.EncodeToString(append([]byte(said), ring.Token(linkPurpose, said)...))
}

// ReadLink gives the question that a token is about, or models.ErrNotFound for one that
// this installation has not made. Whether the link has ended, and whether the question
// is still open, is for the caller to see.
func (b *Bus) ReadLink(token string) (*Question, error) {
	raw, err := strictly.DecodeString(token)
	if err != nil || len(raw) <= seal.TokenSize || b.deps.Seal == nil {
		return nil, models.ErrNotFound
	}
	said, proof := string(raw[:len(raw)-seal.TokenSize]), raw[len(raw)-seal.TokenSize:]
	words := strings.Split(said, ".")
	if !b.deps.Seal.Check(proof, linkPurpose, said) || len(words) != linkParts {
		return nil, models.ErrNotFound
	}
	attempt, err := strconv.Atoi(words[3])
	if err != nil {
		return nil, models.ErrNotFound
	}
	until, err := strconv.ParseInt(words[4], 10, 64)
	if err != nil {
		return nil, models.ErrNotFound
	}
	return &Question{
		Workspace: models.WorkspaceID(words[0]), Run: models.RunID(words[1]), Step: words[2], Attempt: attempt, Until: time.Unix(until, 0).UTC(),
	}, nil
}

// link gives the token and the address at which a person answers what an event asks. It is made of
// the event alone, so it is the same whenever it is asked for, and kept nowhere. Empty:
// the event asks nothing, or it is not known where people reach this installation.
func (b *Bus) link(e *models.Event) (token, address string) {
	if e.Type != models.FlowApprovalRequested || e.Source != models.SourceFlows || e.RunID == nil || b.deps.Seal == nil || b.cfg.LinkFunc == nil {
		return "", ""
	}
	var asked struct {
		Step    string     `json:"step_id"`
		Attempt int        `json:"attempt"`
		Timeout *time.Time `json:"timeout"`
	}
	if json.Unmarshal(e.Data, &asked) != nil || asked.Step == "" {
		return "", ""
	}
	until := e.OccurredAt.Add(maxLinkAge)
	if asked.Timeout != nil && asked.Timeout.Before(until) {
		until = *asked.Timeout
	}
	token = Question{
		Workspace: e.WorkspaceID, Run: *e.RunID, Step: asked.Step, Attempt: asked.Attempt, Until: until.Add(time.Second - 1),
	}.token(b.deps.Seal)
	if address = b.cfg.LinkFunc(token); address == "" {
		return "", ""
	}
	return token, address
}

// withLink adds the address to what a template of a trigger may read, and to nothing
// else: what filters and keys say is kept.
func withLink(vars map[string]any, address string) map[string]any {
	if address == "" {
		return vars
	}
	event, _ := vars["event"].(map[string]any)
	data, ok := event["data"].(map[string]any)
	if !ok {
		return vars
	}
	data, event, vars = maps.Clone(data), maps.Clone(event), maps.Clone(vars)
	data["link"], event["data"] = address, data
	trigger, _ := vars["trigger"].(map[string]any)
	trigger = maps.Clone(trigger)
	vars["event"], trigger["event"] = event, event
	vars["trigger"] = trigger
	return vars
}

// linked adds the address to the data of an event that is sent outside.
func linked(data json.RawMessage, address string) json.RawMessage {
	head, ok := bytes.CutSuffix(bytes.TrimSpace(data), []byte("}"))
	if address == "" || !ok {
		return data
	}
	quoted, err := json.Marshal(address)
	if err != nil {
		return data
	}
	return append(append(append(bytes.Clone(head), `,"link":`...), quoted...), '}')
}

// unlinked takes a token out of a text that is kept. It may be cut off at the end.
func unlinked(text, token string) string {
	const enough = 16
	if len(token) < enough {
		return text
	}
	return regexp.MustCompile(regexp.QuoteMeta(token[:enough])+`[A-Za-z0-9_-]*`).ReplaceAllString(text, "[redacted]")
}
