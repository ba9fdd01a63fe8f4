package expression

import (
	"context"
	"errors"
	"time"
)

// frame is the state of one evaluation. The virtual machine hands it to every
// function of ours; expressions have no name for it.
type frame struct {
	ctx    context.Context //nolint:containedctx // for the length of one Eval only
	vars   Vars
	fuel   int
	memory int
	check  int // fuel at which context and clock are looked at next
	began  time.Time
}

func newFrame(ctx context.Context, vars Vars, fuel int) *frame {
	return &frame{ctx: ctx, vars: vars, fuel: fuel, memory: maxMemory, check: fuel - checkEvery}
}

var (
	errTooMuchWork   = errors.New("the expression does too much work on this data")
	errTooMuchMemory = errors.New("the expression builds too much text or too long lists")
)

// spend takes n units of work.
func (f *frame) spend(n int) error {
	f.fuel -= n
	if f.fuel < f.check {
		return f.look()
	}
	return nil
}

func (f *frame) look() error {
	if f.fuel < 0 {
		return errTooMuchWork
	}
	f.check = f.fuel - checkEvery
	if err := f.ctx.Err(); err != nil {
		return err
	}
	// The clock starts at the first look: short evaluations never ask for the time.
	if f.began.IsZero() {
		f.began = time.Now()
	} else if time.Since(f.began) > maxWall {
		return errTooMuchWork
	}
	return nil
}

// spendText takes the work of going through n bytes of text once.
func (f *frame) spendText(n int) error {
	if n < 64 {
		return nil
	}
	return f.spend(n / 64)
}

// grow takes n bytes of memory, and the work of filling them.
func (f *frame) grow(n int) error {
	f.memory -= n
	if f.memory < 0 {
		return errTooMuchMemory
	}
	return f.spendText(n)
}

// growList takes the memory of a list of n elements.
func (f *frame) growList(n int) error {
	if err := f.spend(n); err != nil {
		return err
	}
	return f.grow(16 * n)
}
