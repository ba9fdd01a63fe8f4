package acceptance_test

import (
	"fmt"
	"strings"
)

// toSink is a step that asks the sink. query is how, more are further fields.
func (s *sink) toSink(id, query string, more ...string) string {
	return fmt.Sprintf(`{"id":%q,"type":"connector","connector":"http","action":"request"%s,"input":{"method":"POST","url":"%s/do?%s",`+
		`"body":{"run":"{{ run.id }}","step":%q}}}`, id, strings.Join(append([]string{""}, more...), ","), s.url, query, id)
}

// set is a step without an effect.
func set(id, input string) string {
	return fmt.Sprintf(`{"id":%q,"type":"connector","connector":"core","action":"set","input":%s}`, id, input)
}

// chain is a graph of steps that follow each other.
func chain(steps ...string) string {
	ids := make([]string, len(steps))
	for i, s := range steps {
		_, rest, _ := strings.Cut(s, `"id":"`)
		ids[i], _, _ = strings.Cut(rest, `"`)
	}
	var edges []string
	for i := range ids[1:] {
		edges = append(edges, fmt.Sprintf(`{"from":%q,"to":%q}`, ids[i], ids[i+1]))
	}
	return fmt.Sprintf(`{"steps":[%s],"edges":[%s]}`, strings.Join(steps, ","), strings.Join(edges, ","))
}

// agentOf is the agent of the ten steps.
func (s *sink) agentOf() string {
	return fmt.Sprintf(`{"slug":"scorer","kind":"http","config":{"url":"%s/do"}}`, s.url)
}

// tenSteps is a flow with a diamond, a branch, an agent, and a step that fails the
// first time. Of payload.n it takes whether it is even.
func (s *sink) tenSteps() string {
	return `{"steps":[` + strings.Join([]string{
		set("intake", `{"n":"{{ payload.n }}"}`),
		s.toSink("left", ""),
		`{"id":"right","type":"agent","agent":"scorer","input":{"run":"{{ run.id }}","step":"right"}}`,
		set("merge", `{"sum":"{{ steps.left.output.body.count + steps.right.output.count + steps.intake.output.n }}"}`),
		s.toSink("flaky", "fail", `"retry":{"max_attempts":3,"initial":"100ms","jitter":false}`),
		`{"id":"route","type":"branch"}`,
		set("even", `{}`),
		s.toSink("odd", ""),
		set("close", `{"sum":"{{ steps.merge.output.sum }}"}`),
		s.toSink("note", ""),
	}, ",") + `],"edges":[
		{"from":"intake","to":"left"},{"from":"intake","to":"right"},
		{"from":"left","to":"merge"},{"from":"right","to":"merge"},
		{"from":"merge","to":"flaky"},{"from":"flaky","to":"route"},
		{"from":"route","to":"even","when":"payload.n % 2 == 0"},{"from":"route","to":"odd","default":true},
		{"from":"even","to":"close"},{"from":"odd","to":"close"},{"from":"close","to":"note"}]}`
}
