package broker_test

import "github.com/alicebob/miniredis/v2/server"

// answerPolicy plays CONFIG GET maxmemory-policy.
func answerPolicy(policy *string) server.Cmd {
	return func(c *server.Peer, _ string, _ []string) {
		c.WriteMapLen(1)
		c.WriteBulk("maxmemory-policy")
		c.WriteBulk(*policy)
	}
}
