// Package llm speaks to language models: it puts one turn of a conversation into a
// vendor's words, sends it, and gives the answer in words all vendors share. It also
// knows what tokens cost.
//
// It knows nothing of agents, of what a tool does, or of what happens after the
// answer. It imports connectors, whose connections and errors it shares and which its
// vendors are, and internal/egress.
package llm
