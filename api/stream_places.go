package api

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"github.com/10ex/flows/models"
)

const (
	// mostStreams is how many streams a key may have open at a process. The rate limit
	// counts beginnings only, and a stream may stay for as long as its run: without
	// this, one key could take all the connections and memory there are.
	// It is more than people watching dashboards need, and a program that follows
	// more runs than this is better served by lists, or by a second key.
	mostStreams = 500
	// placeRetry is when to ask again, in seconds. Nobody knows when a stream ends.
	placeRetry = 5
)

// places counts the open streams of each key. It may be used concurrently.
type places struct {
	most int

	mu    sync.Mutex
	taken map[models.KeyID]int
}

func newPlaces() *places { return &places{most: mostStreams, taken: map[models.KeyID]int{}} }

func (p *places) take(key models.KeyID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[key] >= p.most {
		return false
	}
	p.taken[key]++
	return true
}

func (p *places) giveBack(key models.KeyID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[key]--; p.taken[key] <= 0 {
		delete(p.taken, key)
	}
}

// takePlace lets a request for a stream through if its key has a place left, before
// anything is done for it. The stream gives the place back at its end; where there
// comes none, it is given back here.
func (a *API) takePlace(hc huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(hc)
	if hc.Operation().Method == http.MethodPost && !wantsStream(c) {
		next(hc)
		return
	}
	key := caller(hc.Context()).ID
	if !a.places.take(key) {
		a.refuse(hc, newProblem(http.StatusTooManyRequests, codeRateLimited,
			"This key has "+strconv.Itoa(a.places.most)+" streams open here, which is the most; end one before you open another.").
			header("Retry-After", strconv.Itoa(placeRetry)))
		return
	}
	defer func() {
		if !c.Response().IsBodyStream() {
			a.places.giveBack(key)
		}
	}()
	next(hc)
}
