package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
)

const (
	readyTimeout  = 3 * time.Minute
	readyInterval = time.Second
)

// Smoke implements deploy.Score: the pod of the newest revision is ready, and
// the fleet hears the device.
func (s *FleetAgentPodScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	if err := s.awaitReady(ctx, topology, progress); err != nil {
		return err
	}
	progress("wait: a heartbeat that the fleet hears")
	err := agent.Seen(s.Fleet, s.Device).Check(ctx, progress)
	if err != nil {
		err = deploy.WithNext(err, "see what the agent says: kubectl -n %s logs %s-0", s.namespace(), s.object())
	}
	return err
}

func (s *FleetAgentPodScore) awaitReady(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	told := false
	for {
		ready, err := s.ready(ctx, topology)
		if ready || (err != nil && ctx.Err() == nil) {
			return err
		}
		if !told {
			told = true
			progress("wait: the pod is not ready")
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return deploy.WithNext(fmt.Errorf("the pod %s-0 was not ready within %s", s.object(), readyTimeout),
				"see why: kubectl -n %[1]s describe pod %[2]s-0; kubectl -n %[1]s logs %[2]s-0", s.namespace(), s.object())
		case <-time.After(readyInterval):
		}
	}
}

func (s *FleetAgentPodScore) ready(ctx context.Context, topology Cluster) (bool, error) {
	object, err := topology.Get(ctx, s.statefulSet(nil))
	if err != nil {
		return false, err
	}
	var set appsv1.StatefulSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &set); err != nil {
		return false, fmt.Errorf("read the StatefulSet: %w", err)
	}
	status := set.Status
	return status.ObservedGeneration == set.Generation && status.ReadyReplicas == 1 && status.CurrentRevision == status.UpdateRevision, nil
}
