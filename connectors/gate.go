package connectors

import "context"

// Burden is what is used outside and bears only so much.
type Burden struct {
	// Connection is the one that is used; nil: none.
	Connection *Connection
	// Host is what is used without one, in words; empty: nothing that anybody counts.
	Host string
	// Again says that something goes on that was begun before: no further beginning.
	Again bool
}

// Gate holds back what would be too much for the other side.
type Gate interface {
	// Enter asks for leave to use something. An error means that the attempt has to wait:
	// pass it on as it is and send nothing. Otherwise leave must be called after the use,
	// with what came of it.
	Enter(ctx context.Context, b Burden) (leave func(error), err error)
	// Heed hears of a failure amid a use that goes on nevertheless.
	Heed(ctx context.Context, b Burden, err error)
}

// Use does something within the limits of what it uses. Whoever uses connections
// besides Connection has to go through it; of Connection itself the caller took care.
func (r Request) Use(ctx context.Context, b Burden, do func() error) error {
	if r.Gate == nil {
		return do()
	}
	leave, err := r.Gate.Enter(ctx, b)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // it panics, and what came of it nobody knows
			leave(Retryable(CodeInternal, "the action failed unexpectedly"))
		}
	}()
	err = do()
	returned = true
	leave(err)
	return err
}

// Heed tells of a failure amid a use.
func (r Request) Heed(ctx context.Context, b Burden, err error) {
	if r.Gate != nil {
		r.Gate.Heed(ctx, b, err)
	}
}
