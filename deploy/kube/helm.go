package kube

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/nationtech/harmony-fleet/deploy"
)

const (
	// defaultReadyTimeout is how long a release may take to get ready.
	defaultReadyTimeout = 5 * time.Minute
	// history is how many revisions of a release are kept.
	history = 10
	// chartLabel keeps the digest of the chart at the release: Helm stores the
	// chart without the charts it depends on.
	chartLabel = "harmony-fleet/chart"
	// problemTimeout bounds the look at what is not ready.
	problemTimeout = 10 * time.Second
)

// Deployment is a release as it should be.
type Deployment struct {
	Namespace string
	Name      string
	Chart     *Chart
	Values    map[string]any
	// Timeout is how long it may take to get ready; 5 minutes by default.
	Timeout time.Duration
	// Images says from where the images come; nil for where the chart says.
	Images *Images
	// Progress takes notes of what it waits for; may be nil.
	Progress deploy.Progress
}

// helm returns Helm's access to one namespace.
func (t *Topology) helm(namespace string) *action.Configuration {
	discard := func(string, ...any) {}
	client := helmkube.New(t)
	client.Namespace, client.Log = namespace, discard
	records := driver.NewSecrets(t.client.CoreV1().Secrets(namespace))
	records.Log = discard
	releases := storage.Init(records)
	releases.MaxHistory, releases.Log = history, discard
	return &action.Configuration{RESTClientGetter: t, KubeClient: client, Releases: releases, Log: discard}
}

// helmFor is helm for what is to be deployed.
func (t *Topology) helmFor(d Deployment) *action.Configuration {
	helm := t.helm(d.Namespace)
	if client, ok := helm.KubeClient.(*helmkube.Client); ok && d.Images != nil {
		helm.KubeClient = &imagesClient{Client: client, images: d.Images}
	}
	return helm
}

// Last implements Releases.
func (t *Topology) Last(_ context.Context, namespace, name string) (*release.Release, error) {
	found, err := t.helm(namespace).Releases.Last(name)
	if err != nil {
		return nil, translate(err, "read release %s/%s", namespace, name)
	}
	return found, nil
}

// Deploy implements Releases.
func (t *Topology) Deploy(ctx context.Context, d Deployment) error {
	if d.Timeout <= 0 {
		d.Timeout = defaultReadyTimeout
	}
	helm := t.helmFor(d)
	last, err := helm.Releases.Last(d.Name)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return translate(err, "read release %s/%s", d.Namespace, d.Name)
	}
	t.discovery.Invalidate() // the kinds of objects that were applied since
	if last != nil && (last.Info.Status == release.StatusUninstalling || last.Info.Status == release.StatusUninstalled) {
		if err := t.Uninstall(ctx, d.Namespace, d.Name); err != nil {
			return err
		}
		last = nil
	}
	if last != nil && last.Info.Status.IsPending() {
		// It was left so by a run that was killed.
		last.SetStatus(release.StatusFailed, "interrupted")
		if err := helm.Releases.Update(last); err != nil {
			return translate(err, "take over release %s/%s", d.Namespace, d.Name)
		}
	}
	stop := t.tell(ctx, d)
	err = perform(ctx, helm, last, d)
	stop()
	if err == nil || ctx.Err() != nil {
		return err
	}
	return t.recover(ctx, helm, d, err)
}

// perform installs or upgrades.
func perform(ctx context.Context, helm *action.Configuration, last *release.Release, d Deployment) error {
	opened, err := d.Chart.open()
	if err != nil {
		return err
	}
	values, err := plainValues(d.Values)
	if err != nil {
		return err
	}
	labels := map[string]string{chartLabel: mark(d.Chart)}
	if d.Images != nil {
		labels[imagesLabel] = d.Images.mark()
	}
	if last == nil {
		install := action.NewInstall(helm)
		if d.Images != nil {
			install.PostRenderer = d.Images
		}
		install.ReleaseName, install.Namespace, install.Labels = d.Name, d.Namespace, labels
		install.Wait, install.WaitForJobs, install.Timeout = true, true, d.Timeout
		_, err = install.RunWithContext(ctx, opened, values)
		return translate(inLine(err), "install")
	}
	upgrade := action.NewUpgrade(helm)
	if d.Images != nil {
		upgrade.PostRenderer = d.Images
	} else {
		labels[imagesLabel] = "null" // which removes it
	}
	upgrade.Namespace, upgrade.Labels, upgrade.MaxHistory = d.Namespace, labels, history
	upgrade.Wait, upgrade.WaitForJobs, upgrade.Timeout = true, true, d.Timeout
	upgrade.ResetValues = true // the values are all of them
	_, err = upgrade.RunWithContext(ctx, d.Name, opened, values)
	return translate(inLine(err), "upgrade")
}

// oneLine is an error whose text has no breaks, such as those of failed hooks have.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

func (e oneLine) Unwrap() error { return e.error }

func inLine(err error) error {
	if err == nil {
		return nil
	}
	return oneLine{err}
}

// recover says why a deployment failed and goes back to what worked.
func (t *Topology) recover(ctx context.Context, helm *action.Configuration, d Deployment, failure error) error {
	if errors.Is(failure, context.DeadlineExceeded) {
		failure = fmt.Errorf("after %s: %w", d.Timeout, failure)
	}
	looking, cancel := context.WithTimeout(ctx, problemTimeout)
	problems := t.problems(looking, d.Namespace, d.Name)
	cancel()
	if len(problems) > 0 {
		failure = fmt.Errorf("%w: not ready: %s", failure, strings.Join(problems, "; "))
	}
	deployed, err := helm.Releases.Deployed(d.Name)
	switch {
	case errors.Is(err, driver.ErrNoDeployedReleases) || errors.Is(err, driver.ErrReleaseNotFound):
		return deploy.WithNext(failure, "look at it: kubectl get pods,events -n %s; what was installed stays for that. Run the same command again when it is corrected", d.Namespace)
	case err != nil:
		return errors.Join(failure, translate(err, "find the revision to go back to"))
	}
	if last, err := helm.Releases.Last(d.Name); err == nil && last.Version == deployed.Version {
		return failure // it was refused before anything was changed
	}
	if d.Progress != nil {
		d.Progress(fmt.Sprintf("go back to revision %d", deployed.Version))
	}
	if err := t.rollback(helm, d.Name, deployed.Version, d.Timeout); err != nil {
		return deploy.WithNext(errors.Join(failure, fmt.Errorf("and going back to revision %d: %w", deployed.Version, err)),
			"look at it: kubectl get pods,events -n %s; then run the same command again", d.Namespace)
	}
	return deploy.WithNext(fmt.Errorf("%w; it was rolled back to revision %d, which runs", failure, deployed.Version),
		"correct what keeps it from getting ready, and run the same command again")
}

// Rollback implements Releases.
func (t *Topology) Rollback(_ context.Context, namespace, name string, revision int) error {
	return translate(t.rollback(t.helm(namespace), name, revision, defaultReadyTimeout), "roll release %s/%s back", namespace, name)
}

func (t *Topology) rollback(helm *action.Configuration, name string, revision int, timeout time.Duration) error {
	rollback := action.NewRollback(helm)
	rollback.Version, rollback.MaxHistory = revision, history
	rollback.Wait, rollback.WaitForJobs, rollback.Timeout = true, true, timeout
	return rollback.Run(name)
}

// Uninstall implements Releases.
func (t *Topology) Uninstall(_ context.Context, namespace, name string) error {
	uninstall := action.NewUninstall(t.helm(namespace))
	uninstall.IgnoreNotFound, uninstall.Wait, uninstall.Timeout = true, true, defaultReadyTimeout
	_, err := uninstall.Run(name)
	return translate(err, "uninstall release %s/%s", namespace, name)
}

// mark is the chart's digest as a label takes it.
func mark(c *Chart) string {
	digest := strings.TrimPrefix(c.Digest, "sha256:")
	if _, err := hex.DecodeString(digest); err != nil || len(digest) < 40 {
		return ""
	}
	return digest[:40]
}
