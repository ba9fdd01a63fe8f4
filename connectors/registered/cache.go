package registered

import (
	"container/list"
	"sync"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// cache holds connectors that were opened, those used last, up to a number of bytes
// of what they were made of.
type cache struct {
	mu   sync.Mutex
	most int
	size int
	used *list.List // of *held, the last used first
	byID map[place]*list.Element
}

type place struct {
	ws   models.WorkspaceID
	slug string
}

type held struct {
	at      place
	id      models.ConnectorID
	version int
	size    int
	opened  connectors.Registered
}

func newCache(most int) *cache {
	return &cache{most: most, used: list.New(), byID: map[place]*list.Element{}}
}

func (c *cache) get(at place, id models.ConnectorID, version int) (connectors.Registered, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[at]
	if !ok {
		return nil, false
	}
	h := e.Value.(*held) //nolint:forcetypeassert // nothing else is put there
	if h.id != id || h.version != version {
		return nil, false
	}
	c.used.MoveToFront(e)
	return h.opened, true
}

func (c *cache) put(h *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(h.at)
	c.byID[h.at] = c.used.PushFront(h)
	c.size += h.size
	for c.size > c.most && c.used.Len() > 1 {
		c.drop(c.used.Back().Value.(*held).at) //nolint:forcetypeassert // nothing else is put there
	}
}

func (c *cache) forget(at place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(at)
}

func (c *cache) drop(at place) {
	e, ok := c.byID[at]
	if !ok {
		return
	}
	c.size -= e.Value.(*held).size //nolint:forcetypeassert // nothing else is put there
	c.used.Remove(e)
	delete(c.byID, at)
}
