package host

import (
	"context"
	"fmt"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Codes by which the scripts of this package say why they ended.
const (
	codeDiskFull   = 91
	codeIncomplete = 92
	codeRejected   = 93
)

// Do runs a script and returns what it printed. A code other than 0 is an error
// with the last lines that it wrote to stderr.
func Do(ctx context.Context, shell deploy.Shell, script deploy.Script) (string, error) {
	result, err := shell.Run(ctx, script)
	if err != nil {
		return "", err
	}
	if result.Code == 0 {
		return result.Stdout, nil
	}
	said := lastLines(result.Stderr, 4)
	if said == "" {
		said = lastLines(result.Stdout, 4)
	}
	switch result.Code {
	case codeDiskFull:
		return "", deploy.WithNext(fmt.Errorf("no space left on the disk: %s", said), "make room on the host (df -h) and run the same command again: it goes on where it stopped")
	case codeIncomplete:
		return "", domain.Errorf(domain.ErrUnavailable, "the upload did not arrive whole")
	case codeRejected:
		return "", domain.Errorf(domain.ErrInvalid, "refused before it was put into place: %s", said)
	default:
		return "", fmt.Errorf("the host's command ended with code %d: %s", result.Code, said)
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
