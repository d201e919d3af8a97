package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Release is a release of a chart. A secret among its values is shown nowhere,
// but Helm keeps the values in a Secret of the cluster: name Secrets in them.
type Release struct {
	Releases  Releases
	Namespace string
	Name      string
	Source    ChartSource
	Values    map[string]any
	// Images says from where the images come; nil for where the chart says.
	Images *Images
	// Timeout is how long it may take to get ready; 5 minutes by default.
	Timeout time.Duration
	// Leaves names what stays when it is uninstalled.
	Leaves string

	loading sync.Mutex
	chart   *Chart
}

var _ deploy.Resource = (*Release)(nil)

// ID implements deploy.Resource.
func (r *Release) ID() string { return "release " + r.Namespace + "/" + r.Name }

// Load loads the chart once: what Source returns.
func (r *Release) Load(ctx context.Context) (*Chart, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	if r.chart == nil {
		chart, err := r.Source.Load(ctx)
		if err != nil {
			return nil, err
		}
		r.chart = chart
	}
	return r.chart, nil
}

// Plan implements deploy.Resource.
func (r *Release) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	last, err := r.Releases.Last(ctx, r.Namespace, r.Name)
	missing := errors.Is(err, domain.ErrNotFound)
	if err != nil && !missing {
		return deploy.Change{}, err
	}
	if goal == deploy.Absent {
		if missing {
			return deploy.Unchanged("not there"), nil
		}
		summary := fmt.Sprintf("uninstall %s %s", last.Chart.Name(), last.Chart.Metadata.Version)
		if r.Leaves != "" {
			summary += "; kept: " + r.Leaves
		}
		return deploy.Change{Action: deploy.ActionDelete, Summary: summary}, nil
	}
	chart, err := r.Load(ctx)
	if err != nil {
		return deploy.Change{}, err
	}
	values, err := plainValues(r.Values)
	if err != nil {
		return deploy.Change{}, err
	}
	if missing {
		return deploy.Change{
			Action: deploy.ActionCreate, Summary: fmt.Sprintf("install %s %s", chart.Name, chart.Version),
			Details: []string{"chart digest " + chart.Digest},
		}, nil
	}
	return r.compare(ctx, last, chart, values)
}

func (r *Release) compare(ctx context.Context, last *release.Release, chart *Chart, values map[string]any) (deploy.Change, error) {
	change := deploy.Change{Action: deploy.ActionUpdate}
	switch {
	case last.Info.Status.IsPending(), last.Info.Status == release.StatusUninstalling:
		change.Summary = "finish what was interrupted"
		return change, nil
	case last.Info.Status != release.StatusDeployed:
		change.Summary = fmt.Sprintf("try again: revision %d is %s", last.Version, last.Info.Status)
		return change, nil
	case last.Chart.Name() != chart.Name || last.Chart.Metadata.Version != chart.Version:
		change.Summary = fmt.Sprintf("upgrade from %s %s to %s %s", last.Chart.Name(), last.Chart.Metadata.Version, chart.Name, chart.Version)
	case last.Labels[chartLabel] != mark(chart):
		change.Summary = "upgrade to another chart of the same version"
	case last.Labels[imagesLabel] != r.Images.mark():
		change.Summary = "take the images from where the chart says"
		if r.Images != nil {
			change.Summary = "take the images from " + r.Images.From
		}
	}
	have, err := plainValues(last.Config)
	if err != nil {
		return deploy.Change{}, err
	}
	diff("values", have, values, &change.Details)
	if change.Summary == "" && len(change.Details) > 0 {
		change.Summary = "change " + some(change.Details)
	}
	if change.Summary != "" {
		return change, nil
	}
	drift, err := r.drift(ctx, last)
	if err != nil {
		return deploy.Change{}, err
	}
	if len(drift) > 0 {
		change.Summary, change.Details = "undo what others changed: "+some(drift), drift
		return change, nil
	}
	return deploy.Unchanged(fmt.Sprintf("%s %s, revision %d", chart.Name, chart.Version, last.Version)), nil
}

// drift returns what differs from what the release made.
func (r *Release) drift(ctx context.Context, last *release.Release) ([]string, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(last.Manifest), 4096)
	var drift []string
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); err != nil {
			if errors.Is(err, io.EOF) {
				return drift, nil
			}
			return nil, domain.WrapError(domain.ErrInvalid, err, "the manifest of revision %d", last.Version)
		}
		if len(object.Object) == 0 {
			continue
		}
		live, err := r.live(ctx, object)
		if errors.Is(err, domain.ErrNotFound) {
			drift = append(drift, title(object)+": is missing")
			continue
		}
		if err != nil {
			return nil, err
		}
		wanted, err := r.Releases.Apply(ctx, object, true)
		if err != nil {
			return nil, err
		}
		for _, path := range differences(live, wanted) {
			drift = append(drift, title(object)+" "+path)
		}
	}
}

// live reads the object; its namespace is the release's unless it says otherwise.
func (r *Release) live(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if object.GetNamespace() != "" {
		return r.Releases.Get(ctx, object)
	}
	object.SetNamespace(r.Namespace)
	live, err := r.Releases.Get(ctx, object)
	if err == nil {
		object.SetNamespace(live.GetNamespace()) // none for a kind that has none
	}
	return live, err
}

// Apply implements deploy.Resource.
func (r *Release) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	if goal == deploy.Absent {
		return r.Releases.Uninstall(ctx, r.Namespace, r.Name)
	}
	chart, err := r.Load(ctx)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("deploy %s %s and wait until it is ready", chart.Name, chart.Version))
	return r.Releases.Deploy(ctx, Deployment{
		Namespace: r.Namespace, Name: r.Name, Chart: chart, Values: r.Values, Images: r.Images, Timeout: r.Timeout, Progress: progress,
	})
}

// plainValues is a copy of values as they come back from Helm's storage.
func plainValues(values map[string]any) (map[string]any, error) {
	data, err := json.Marshal(values)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "values")
	}
	plain := map[string]any{}
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "values")
	}
	return plain, nil
}
