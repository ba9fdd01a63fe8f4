package connectors

import "context"

// Priced is a connector whose actions cost money by use.
type Priced interface {
	Connector
	// Most tells what an action, whose input is valid, may use at most; nil where that is
	// nothing.
	Most(r Request) *Usage
}

// Spending keeps budgets: what an action may use at most is set aside before, and what
// it did use is settled after it.
type Spending interface {
	// Reserve sets aside what a request may use. An error is why it must not be sent.
	Reserve(ctx context.Context, r Request, most Usage) error
	// Settle ends that with what was used; nil is nothing.
	Settle(ctx context.Context, r Request, used *Usage)
}

// WithSpending gives a Catalogue whose actions that cost money keep to budgets.
func (c *Catalogue) WithSpending(s Spending) *Catalogue {
	derived := *c
	derived.spending = s
	return &derived
}

// doBuiltIn calls an action of a connector that is built in.
func (c *Catalogue) doBuiltIn(ctx context.Context, found Connector, slug string, req Request) (Response, error) {
	priced, ok := found.(Priced)
	if !ok || c.spending == nil {
		return c.builtIn.Do(ctx, slug, req)
	}
	if err := c.builtIn.ValidateInput(slug, req.Action, req.Input); err != nil {
		return Response{}, err
	}
	most := priced.Most(req)
	if most == nil {
		return c.builtIn.Do(ctx, slug, req)
	}
	if err := c.spending.Reserve(ctx, req, *most); err != nil {
		return Response{}, err
	}
	resp, err := c.builtIn.Do(ctx, slug, req)
	c.spending.Settle(ctx, req, resp.Usage)
	return resp, err
}
