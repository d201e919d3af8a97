package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// untilInterval is how often a smoke test asks.
const untilInterval = time.Second

// Until asks every second until the answer is nil, as a smoke test does. It waits
// for what is not so yet: errors of kind domain.ErrUnavailable, and questions that
// took too long. It tells what it waits for when that changes. Any other error ends
// it, and so does the timeout or that of ctx, with the last error in the text.
func Until(ctx context.Context, timeout time.Duration, progress Progress, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	started, waiting := time.Now(), ""
	for {
		err := ask(limited)
		if err == nil {
			return nil
		}
		if limited.Err() == nil {
			if !errors.Is(err, domain.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if err.Error() != waiting {
				waiting = err.Error()
				progress("wait: " + waiting)
			}
		}
		select {
		case <-limited.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Cause(ctx)
			}
			if waiting == "" {
				waiting = err.Error()
			}
			return fmt.Errorf("after %s: %s", time.Since(started).Round(time.Second), waiting)
		case <-time.After(untilInterval):
		}
	}
}
