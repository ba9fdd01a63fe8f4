package share_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/share"
)

func TestThoseWhoComeMeanwhileAreFetchedForTogether(t *testing.T) {
	t.Parallel()
	asked := make(chan int)
	answer := make(chan int)
	c := share.New(func(_ context.Context, key string, n int) ([]int, error) {
		asked <- n
		first := <-answer
		out := make([]int, n)
		for i := range out {
			out[i] = first + i
		}
		return out, nil
	})
	var wg sync.WaitGroup
	got := make(chan int, 4)
	get := func() {
		v, err := c.Get(t.Context(), "a")
		if err != nil {
			v = -1
		}
		got <- v
	}
	wg.Go(get)
	require.Equal(t, 1, <-asked, "nobody waits for others to come")
	var came sync.WaitGroup
	for range 3 {
		came.Add(1)
		wg.Go(func() { came.Done(); get() })
	}
	came.Wait()
	for c.Waiting("a") < 3 {
		runtime.Gosched() // they are on their way
	}
	answer <- 1
	require.Equal(t, 3, <-asked, "one fetch for all who came while another was under way")
	answer <- 10
	wg.Wait()
	close(got)
	var values []int
	for v := range got {
		values = append(values, v)
	}
	slices.Sort(values)
	require.Equal(t, []int{1, 10, 11, 12}, values, "a value for each, fetched after it had asked")
	require.Zero(t, c.Keys(), "nothing is kept")
}

func TestKeysDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	c := share.New(func(_ context.Context, key string, n int) ([]string, error) {
		if key == "slow" {
			<-hold
		}
		return slices.Repeat([]string{key}, n), nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = c.Get(t.Context(), "slow") })
	v, err := c.Get(t.Context(), "quick")
	require.NoError(t, err)
	require.Equal(t, "quick", v)
	close(hold)
	wg.Wait()
}

func TestAFaultIsThatOfItsCallers(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	c := share.New(func(_ context.Context, key string, n int) ([]int, error) {
		switch key {
		case "panics":
			panic("oh")
		case "short":
			return nil, nil
		}
		return nil, broken
	})
	_, err := c.Get(t.Context(), "fails")
	require.ErrorIs(t, err, broken)
	for _, key := range []string{"panics", "short"} {
		_, err = c.Get(t.Context(), key)
		require.Error(t, err)
	}
	require.Zero(t, c.Keys())
}

func TestWhoeverLeavesHoldsUpNobody(t *testing.T) {
	t.Parallel()
	began, hold := make(chan struct{}, 2), make(chan struct{})
	c := share.New(func(ctx context.Context, _ string, n int) ([]int, error) {
		began <- struct{}{}
		select {
		case <-hold:
			return make([]int, n), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	first, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	got := make(chan error, 3)
	wg.Go(func() { _, err := c.Get(first, "a"); got <- err })
	<-began
	second, leaveToo := context.WithCancel(t.Context())
	for _, ctx := range []context.Context{second, t.Context()} {
		wg.Go(func() { _, err := c.Get(ctx, "a"); got <- err })
	}
	for c.Waiting("a") < 2 {
		runtime.Gosched() // they are on their way
	}
	leave()
	require.ErrorIs(t, <-got, context.Canceled, "the one who was alone")
	<-began
	leaveToo()
	require.ErrorIs(t, <-got, context.Canceled, "one of several")
	close(hold)
	require.NoError(t, <-got, "the other of them")
	wg.Wait()
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var fetched, served atomic.Int64
	c := share.New(func(_ context.Context, key int, n int) ([]int, error) {
		fetched.Add(1)
		return slices.Repeat([]int{key}, n), nil
	})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range 500 {
				v, err := c.Get(t.Context(), i%3)
				if err == nil && v == i%3 {
					served.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 32*500, served.Load())
	require.LessOrEqual(t, fetched.Load(), served.Load())
}
