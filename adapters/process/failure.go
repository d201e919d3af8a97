package process

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// asFailure returns err as the *domain.WorkloadError that it is made as.
func asFailure(err error) *domain.WorkloadError {
	if failure, ok := errors.AsType[*domain.WorkloadError](err); ok {
		return failure
	}
	return &domain.WorkloadError{Reason: contracts.ReasonStartFailed, Message: err.Error(), Cause: err}
}

// failureList gathers what went wrong with the services of one deployment.
type failureList struct {
	mu   sync.Mutex
	list []*domain.WorkloadError
}

func (f *failureList) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, asFailure(err))
}

// maxMessages bounds the text; each says what is wrong with one service.
const maxMessages = 3

// err returns one *domain.WorkloadError for all, or nil.
func (f *failureList) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		return nil
	}
	if len(f.list) == 1 {
		return f.list[0]
	}
	slices.SortStableFunc(f.list, func(a, b *domain.WorkloadError) int { return strings.Compare(a.Message, b.Message) })
	var texts []string
	var causes []error
	for i, failure := range f.list {
		causes = append(causes, failure)
		if i < maxMessages {
			texts = append(texts, failure.Message)
		}
	}
	if more := len(f.list) - maxMessages; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return &domain.WorkloadError{Reason: f.list[0].Reason, Message: strings.Join(texts, "; "), Cause: errors.Join(causes...)}
}
