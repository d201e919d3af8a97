package contracts

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Strategy is how a new spec reaches the devices.
type Strategy string

// Rollout strategies. The empty strategy is AllAtOnce.
const (
	StrategyAllAtOnce Strategy = "AllAtOnce"
	StrategyRolling   Strategy = "Rolling"
	StrategyStaged    Strategy = "Staged"
)

// FailureAction is what a rollout does when too many devices fail.
type FailureAction string

// Failure actions. The empty action is FailurePause.
const (
	FailurePause    FailureAction = "Pause"
	FailureRollback FailureAction = "Rollback"
)

// Rollout says how a new spec reaches the devices.
type Rollout struct {
	Strategy Strategy `json:"strategy,omitempty"`
	// MaxUnavailable is the most devices not available at a time.
	MaxUnavailable Amount `json:"maxUnavailable,omitzero"`
	// MinReady is how long a device must run before it counts as available.
	MinReady Duration `json:"minReady,omitempty"`
	// ProgressDeadline is the longest time without progress.
	ProgressDeadline Duration `json:"progressDeadline,omitempty"`
	// MaxFailures is the most failed devices before OnFailure is done.
	MaxFailures Amount        `json:"maxFailures,omitzero"`
	OnFailure   FailureAction `json:"onFailure,omitempty"`
}

// Validate checks closed lists and ranges.
func (r Rollout) Validate() error {
	switch r.Strategy {
	case "", StrategyAllAtOnce, StrategyRolling, StrategyStaged:
	default:
		return invalid("strategy", "%q is unknown: use AllAtOnce, Rolling or Staged", r.Strategy)
	}
	switch r.OnFailure {
	case "", FailurePause, FailureRollback:
	default:
		return invalid("onFailure", "%q is unknown: use Pause or Rollback", r.OnFailure)
	}
	if err := r.MaxUnavailable.Validate(); err != nil {
		return in("maxUnavailable", err)
	}
	if err := r.MaxFailures.Validate(); err != nil {
		return in("maxFailures", err)
	}
	if err := checkDuration("minReady", r.MinReady, 0, 24*time.Hour); err != nil {
		return err
	}
	return checkDuration("progressDeadline", r.ProgressDeadline, 0, 7*24*time.Hour)
}

// Amount is a count of devices or a share of them, written 3 or "10%". The
// zero Amount is unset.
type Amount struct {
	text string
}

// ParseAmount reads a whole number or a whole percentage from 0% to 100%.
func ParseAmount(s string) (Amount, error) {
	amount := Amount{text: s}
	if err := amount.Validate(); err != nil {
		return Amount{}, err
	}
	return amount, nil
}

// IsZero reports whether the amount is unset.
func (a Amount) IsZero() bool { return a.text == "" }

// String returns the written form.
func (a Amount) String() string { return a.text }

// Of returns the amount for a total of n devices: a percentage is rounded up.
func (a Amount) Of(n int) int {
	if share, ok := strings.CutSuffix(a.text, "%"); ok {
		percent, _ := strconv.Atoi(share)
		return (n*percent + 99) / 100
	}
	count, _ := strconv.Atoi(a.text)
	return count
}

// Validate checks the form.
func (a Amount) Validate() error {
	if a.text == "" {
		return nil
	}
	text, percent := strings.CutSuffix(a.text, "%")
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || percent && n > 100 || text != fmt.Sprint(n) {
		return invalid("", "%q is not an amount: write a number of devices, or a percentage such as \"10%%\"", a.text)
	}
	return nil
}

// MarshalJSON writes a number or a percentage string.
func (a Amount) MarshalJSON() ([]byte, error) {
	if strings.HasSuffix(a.text, "%") || a.text == "" {
		return json.Marshal(a.text)
	}
	return []byte(a.text), nil
}

// UnmarshalJSON reads a number or a string; Validate checks it. A null changes
// nothing.
func (a *Amount) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &a.text) != nil {
		a.text = string(data)
	}
	return nil
}
