package agent

import (
	"context"
	"sync"
	"time"
)

// gatePatience is how long a call counts. An image pull or an init container
// may take minutes; by then it loads the host less than its start did, and a
// few that hang must not keep the others from starting.
const gatePatience = 10 * time.Second

// gate bounds how many calls begin at the same time.
type gate struct{ slots chan struct{} }

func newGate(most int) *gate { return &gate{slots: make(chan struct{}, most)} }

// enter waits its turn. The caller calls leave when it is done; after
// gatePatience its place is given to another in any case. It returns ctx's
// error when that ends first.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release := sync.OnceFunc(func() { <-g.slots })
	timer := time.AfterFunc(gatePatience, release)
	return func() {
		timer.Stop()
		release()
	}, nil
}
