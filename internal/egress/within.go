package egress

import (
	"context"
	"net/url"
)

type withinKey struct{}

// Within gives a context under which requests, and the redirects they meet, go to
// places that allowed accepts and nowhere else. Limits on limits all hold.
func Within(ctx context.Context, allowed func(*url.URL) bool) context.Context {
	if outer, ok := ctx.Value(withinKey{}).(func(*url.URL) bool); ok {
		inner := allowed
		allowed = func(u *url.URL) bool { return outer(u) && inner(u) }
	}
	return context.WithValue(ctx, withinKey{}, allowed)
}

func checkWithin(ctx context.Context, u *url.URL) error {
	if allowed, ok := ctx.Value(withinKey{}).(func(*url.URL) bool); ok && !allowed(u) {
		return &BlockedError{"the host is not one of those allowed here"}
	}
	return nil
}
