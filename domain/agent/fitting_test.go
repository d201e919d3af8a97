package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
)

// TestReportsAlwaysFit makes messages as long as JSON can make them.
func TestReportsAlwaysFit(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"quotes": `"`, "control characters": "\x01"} {
		var report contracts.DeviceReport
		for i := range maxReported {
			report.Deployments = append(report.Deployments, contracts.DeploymentReport{
				Name: contracts.DeploymentName(fmt.Sprintf("app-%03d", i)), Generation: 1,
				Phase: contracts.PhaseFailed, Reason: contracts.ReasonStartFailed,
				Message: strings.Repeat(text, contracts.MaxMessageBytes),
			})
		}
		_, err := contracts.Encode(report)
		require.Error(t, err, name)
		fitted := fitting(report)
		_, err = contracts.Encode(fitted)
		require.NoError(t, err, name)
		require.Len(t, fitted.Deployments, maxReported)
		require.NotEmpty(t, fitted.Deployments[0].Message, name)
		require.Len(t, report.Deployments[0].Message, contracts.MaxMessageBytes, "the report itself stays as it is")
	}
}
