package agent

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// handle answers one command; it is a domain.CommandHandler.
func (a *Agent) handle(ctx context.Context, verb contracts.Verb, request []byte) []byte {
	switch verb {
	case contracts.VerbPing:
		return answer(request, func(contracts.Empty) (contracts.Document, error) { return a.ping(), nil })
	case contracts.VerbDescribe:
		return answer(request, func(contracts.Empty) (contracts.Document, error) { return a.describe(), nil })
	case contracts.VerbReconcile:
		return answer(request, func(contracts.Empty) (contracts.Document, error) { return a.reconcile(ctx), nil })
	case contracts.VerbReport:
		return answer(request, func(contracts.Empty) (contracts.Document, error) { return a.reportAgain(), nil })
	case contracts.VerbLogs:
		return answer(request, func(r contracts.LogsRequest) (contracts.Document, error) { return a.logs(ctx, r) })
	case contracts.VerbExec:
		return answer(request, func(r contracts.ExecRequest) (contracts.Document, error) { return a.exec(ctx, r) })
	case contracts.VerbRotate:
		return answer(request, func(r contracts.RotateRequest) (contracts.Document, error) { return a.rotate(ctx, r) })
	default:
		return domain.Answer(nil, domain.Errorf(domain.ErrUnsupported, "this agent (version %q) does not know the command", a.options.Version))
	}
}

// answer decodes a request and encodes what was done about it.
func answer[Request contracts.Document](body []byte, do func(Request) (contracts.Document, error)) []byte {
	request, err := contracts.Decode[Request](body)
	if err != nil {
		return domain.Answer(nil, domain.WrapError(domain.ErrInvalid, err, "the request is not understood"))
	}
	return domain.Answer(do(request))
}

func (a *Agent) ping() contracts.PingResult {
	return contracts.PingResult{AgentVersion: a.options.Version, Time: time.Now().UTC(), Uptime: a.uptime()}
}

func (a *Agent) uptime() contracts.Duration { return contracts.Duration(time.Since(a.startedAt)) }

func (a *Agent) describe() contracts.DescribeResult {
	info := a.info()
	a.mu.Lock()
	defer a.mu.Unlock()
	return contracts.DescribeResult{
		Info:              info,
		Report:            fitting(a.compose(time.Now())),
		DesiredGeneration: a.generation(),
		Time:              time.Now().UTC(),
		Uptime:            a.uptime(),
	}
}

// reconcile compares everything with the runtimes now and forgets back-offs.
func (a *Agent) reconcile(ctx context.Context) contracts.Empty {
	a.log.InfoContext(ctx, "reconciliation was asked for")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tasks {
		t.retry()
	}
	for _, h := range a.hosts {
		ring(h.bell)
	}
	return contracts.Empty{}
}

// rotate takes on the replacement of the device's key.
func (a *Agent) rotate(ctx context.Context, request contracts.RotateRequest) (contracts.Document, error) {
	if a.options.Rotate == nil {
		return nil, domain.Errorf(domain.ErrUnsupported, "this device was not enrolled: its key is replaced by hand")
	}
	return contracts.Empty{}, a.options.Rotate(ctx, request.Token)
}

// reportAgain sends info and report again.
func (a *Agent) reportAgain() contracts.Empty {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wantInfo, a.wantReport = true, true
	ring(a.reportBell)
	return contracts.Empty{}
}
