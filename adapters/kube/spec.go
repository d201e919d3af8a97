package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// deploymentFromResource returns the deployment that a resource declares. It
// returns ErrInvalid for what cannot be read; whether the deployment makes
// sense is for domain.CheckDeployment.
func deploymentFromResource(resource *v1alpha1.Deployment) (domain.FleetDeployment, error) {
	spec, err := specToDomain(resource.Spec)
	if err != nil {
		return domain.FleetDeployment{}, err
	}
	return domain.FleetDeployment{
		Name:        contracts.DeploymentName(resource.Name),
		Labels:      contracts.Labels(resource.Labels),
		Origin:      contracts.OriginKubernetes,
		Spec:        spec,
		ChangeCause: contracts.Clip(resource.Annotations[domain.ChangeCauseAnnotation], contracts.MaxMessageBytes),
	}, nil
}

func specToDomain(spec v1alpha1.DeploymentSpec) (contracts.DeploymentSpec, error) {
	data, err := encodeData(spec.Score.Data)
	if err != nil {
		return contracts.DeploymentSpec{}, domain.WrapError(domain.ErrInvalid, err, "spec.score.data")
	}
	rollout, err := rolloutToDomain(spec.Rollout)
	if err != nil {
		return contracts.DeploymentSpec{}, err
	}
	return contracts.DeploymentSpec{
		TargetSelector: selectorToDomain(spec.TargetSelector),
		Score:          contracts.ReconcileScore{Type: contracts.ScoreType(spec.Score.Type), Data: data},
		Rollout:        rollout,
	}, nil
}

// encodeData is deterministic, so that an unchanged score has the same bytes.
func encodeData(data v1alpha1.ScoreData) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // commands stay readable
	if err := encoder.Encode(data); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func selectorToDomain(selector v1alpha1.LabelSelector) *contracts.LabelSelector {
	out := &contracts.LabelSelector{}
	if len(selector.MatchLabels) > 0 {
		out.MatchLabels = make(map[string]string, len(selector.MatchLabels))
		for key, value := range selector.MatchLabels {
			out.MatchLabels[key] = string(value)
		}
	}
	for _, requirement := range selector.MatchExpressions {
		converted := contracts.SelectorRequirement{Key: requirement.Key, Operator: contracts.SelectorOperator(requirement.Operator)}
		for _, value := range requirement.Values {
			converted.Values = append(converted.Values, string(value))
		}
		out.MatchExpressions = append(out.MatchExpressions, converted)
	}
	return out
}

func rolloutToDomain(rollout *v1alpha1.Rollout) (contracts.Rollout, error) {
	if rollout == nil {
		return contracts.Rollout{}, nil
	}
	out := contracts.Rollout{
		Strategy:  contracts.Strategy(rollout.Strategy),
		OnFailure: contracts.FailureAction(rollout.OnFailure),
	}
	for _, amount := range []struct {
		field string
		from  *intstr.IntOrString
		to    *contracts.Amount
	}{
		{"maxUnavailable", rollout.MaxUnavailable, &out.MaxUnavailable},
		{"maxFailures", rollout.MaxFailures, &out.MaxFailures},
	} {
		if amount.from == nil {
			continue
		}
		parsed, err := contracts.ParseAmount(amount.from.String())
		if err != nil {
			return contracts.Rollout{}, domain.WrapError(domain.ErrInvalid, err, "spec.rollout.%s", amount.field)
		}
		*amount.to = parsed
	}
	for _, duration := range []struct {
		field string
		from  v1alpha1.Duration
		to    *contracts.Duration
	}{
		{"minReady", rollout.MinReady, &out.MinReady},
		{"progressDeadline", rollout.ProgressDeadline, &out.ProgressDeadline},
	} {
		if duration.from == "" {
			continue
		}
		if err := json.Unmarshal([]byte(strconv.Quote(string(duration.from))), duration.to); err != nil {
			return contracts.Rollout{}, domain.WrapError(domain.ErrInvalid, err, "spec.rollout.%s", duration.field)
		}
	}
	return out, nil
}

// specFromDomain returns a stored spec as a resource shows it. It returns
// ErrUnsupported for a score that this version cannot show.
func specFromDomain(spec contracts.DeploymentSpec) (v1alpha1.DeploymentSpec, error) {
	out := v1alpha1.DeploymentSpec{
		Score:   v1alpha1.Score{Type: string(spec.Score.Type)},
		Rollout: rolloutFromDomain(spec.Rollout),
	}
	if spec.TargetSelector != nil {
		out.TargetSelector = selectorFromDomain(*spec.TargetSelector)
	}
	if !spec.Score.Known() {
		return out, domain.Errorf(domain.ErrUnsupported, "score type %q is not known here", spec.Score.Type)
	}
	if err := json.Unmarshal(spec.Score.Data, &out.Score.Data); err != nil {
		return out, domain.WrapError(domain.ErrUnsupported, err, "score of type %s", spec.Score.Type)
	}
	return out, nil
}

func selectorFromDomain(selector contracts.LabelSelector) v1alpha1.LabelSelector {
	var out v1alpha1.LabelSelector
	if len(selector.MatchLabels) > 0 {
		out.MatchLabels = make(map[string]v1alpha1.LabelValue, len(selector.MatchLabels))
		for key, value := range selector.MatchLabels {
			out.MatchLabels[key] = v1alpha1.LabelValue(value)
		}
	}
	for _, requirement := range selector.MatchExpressions {
		converted := v1alpha1.SelectorRequirement{Key: requirement.Key, Operator: string(requirement.Operator)}
		for _, value := range requirement.Values {
			converted.Values = append(converted.Values, v1alpha1.LabelValue(value))
		}
		out.MatchExpressions = append(out.MatchExpressions, converted)
	}
	return out
}

func rolloutFromDomain(rollout contracts.Rollout) *v1alpha1.Rollout {
	if rollout == (contracts.Rollout{}) {
		return nil
	}
	return &v1alpha1.Rollout{
		Strategy:         string(rollout.Strategy),
		MaxUnavailable:   amountFromDomain(rollout.MaxUnavailable),
		MinReady:         durationFromDomain(rollout.MinReady),
		ProgressDeadline: durationFromDomain(rollout.ProgressDeadline),
		MaxFailures:      amountFromDomain(rollout.MaxFailures),
		OnFailure:        string(rollout.OnFailure),
	}
}

func amountFromDomain(amount contracts.Amount) *intstr.IntOrString {
	if amount.IsZero() {
		return nil
	}
	out := intstr.Parse(amount.String())
	return &out
}

func durationFromDomain(duration contracts.Duration) v1alpha1.Duration {
	if duration == 0 {
		return ""
	}
	return v1alpha1.Duration(fmt.Sprint(duration))
}
