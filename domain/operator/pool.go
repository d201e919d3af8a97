package operator

import "context"

// work is done by a goroutine of its own, on copies. It returns what the
// engine's goroutine does with the result; ctx ends both.
type work func(ctx context.Context) (finish func(ctx context.Context))

// pool bounds how many works of one kind are under way. It belongs to the
// engine's goroutine.
type pool struct {
	limit, busy int
	waiting     []work
}

// completion is a work that is done.
type completion struct {
	pool   *pool
	finish func(ctx context.Context)
}

func (p *pool) idle() int { return p.limit - p.busy }

// start begins the work, or lets it wait for its turn. It does not block.
func (p *pool) start(ctx context.Context, e *engine, w work) {
	if p.busy >= p.limit {
		p.waiting = append(p.waiting, w)
		return
	}
	p.busy++
	e.running.Go(func() {
		done := completion{pool: p, finish: w(ctx)}
		select {
		case e.completions <- done:
		case <-ctx.Done():
		}
	})
}

// complete takes a result in and begins the next work that waits.
func (e *engine) complete(ctx context.Context, done completion) {
	p := done.pool
	p.busy--
	done.finish(ctx)
	if p == &e.publishers && e.dirty.len() > 0 {
		e.wakeAt(e.now)
	}
	if len(p.waiting) > 0 && p.busy < p.limit {
		next := p.waiting[0]
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
		p.start(ctx, e, next)
	}
}
