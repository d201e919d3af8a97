package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// lane brings one kind of resource in line with the fleet, name by name. What
// changes is gathered for a moment, and one name is written no more often than
// its interval says.
type lane struct {
	namespace string
	settle    time.Duration
	interval  time.Duration
	log       *slog.Logger
	// step brings one name in line and reports whether it wrote anything.
	step func(ctx context.Context, name string) (wrote bool, err error)
	now  func() time.Time

	mu           sync.Mutex
	queue        workqueue.TypedRateLimitingInterface[reconcile.Request]
	waiting      []string // told before there was a queue
	written      map[string]time.Time
	complained   time.Time
	notComplaint int
}

func newLane(o Options, interval time.Duration, step func(context.Context, string) (bool, error)) *lane {
	return &lane{
		namespace: o.Namespace, settle: o.SettleDelay, interval: interval, log: o.Logger,
		step: step, now: time.Now, written: map[string]time.Time{},
	}
}

// Bounds of the pause before a name is tried again, of one try, and of how
// often a failure is logged.
const (
	leastRetry     = 200 * time.Millisecond
	mostRetry      = 30 * time.Second
	stepTimeout    = 30 * time.Second
	complaintPause = 10 * time.Second
	cacheTimeout   = 30 * time.Second
)

// start has a manager run the lane for resources of the given type.
func (l *lane) start(m manager.Manager, name string, workers int, of client.Object) error {
	skip := true
	c, err := controller.New(name, m, controller.Options{
		SkipNameValidation:      &skip, // a new manager is made after each loss of the lease
		MaxConcurrentReconciles: workers,
		CacheSyncTimeout:        cacheTimeout,
		Reconciler:              l,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](leastRetry, mostRetry),
		// The lane complains on its own, less often.
		LogConstructor: func(*reconcile.Request) logr.Logger { return logr.Discard() },
	})
	if err != nil {
		return err
	}
	if err := c.Watch(source.Kind(m.GetCache(), of, &handler.TypedEnqueueRequestForObject[client.Object]{})); err != nil {
		return err
	}
	return c.Watch(source.Func(l.begin))
}

func (l *lane) begin(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = queue
	for _, name := range l.waiting {
		l.enqueue(name)
	}
	l.waiting = nil
	return nil
}

// changed has a name looked at soon. It does not block.
func (l *lane) changed(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue == nil {
		l.waiting = append(l.waiting, name)
		return
	}
	l.enqueue(name)
}

func (l *lane) enqueue(name string) {
	l.queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: l.namespace, Name: name}}, l.settle)
}

// Reconcile looks at one name.
func (l *lane) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if pause := l.hold(request.Name); pause > 0 {
		return reconcile.Result{RequeueAfter: pause}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	wrote, err := l.step(ctx, request.Name)
	if wrote {
		l.note(request.Name)
	}
	if err != nil {
		l.complain(ctx, request.Name, err)
	}
	return reconcile.Result{}, err
}

// hold returns how long a name has to wait for its next write.
func (l *lane) hold(name string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.written[name]
	if !ok {
		return 0
	}
	pause := at.Add(l.interval).Sub(l.now())
	if pause <= 0 {
		delete(l.written, name)
	}
	return pause
}

func (l *lane) note(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[name] = l.now()
}

// complain logs a failure, but not one for each of ten thousand devices.
func (l *lane) complain(ctx context.Context, name string, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Sub(l.complained) < complaintPause {
		l.notComplaint++
		return
	}
	l.log.Warn("a resource could not be brought in line; it is tried again",
		slog.String("name", name), slog.Any("error", err), slog.Int("others", l.notComplaint))
	l.complained, l.notComplaint = l.now(), 0
}
