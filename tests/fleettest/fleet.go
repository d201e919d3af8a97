package fleettest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Ready is what `fleet dev` writes once everything has been started.
type Ready struct {
	Server  string   `json:"server"`
	NKey    string   `json:"nkey"`
	Dir     string   `json:"dir"`
	Devices []string `json:"devices"`
}

// Dev is a running `fleet dev`.
type Dev struct {
	*Program
	Ready
	bin string
	// config holds the contexts of the CLI, apart from the user's own.
	config string
}

// StartDev runs `fleet dev` from the programs in bin with its files in dir,
// and waits until it is ready. What it prints goes to echo when that is not nil.
func StartDev(ctx context.Context, bin, dir string, echo io.Writer, args ...string) (*Dev, error) {
	config := filepath.Join(dir, "cli")
	ready := filepath.Join(dir, "fleet", "ready.json")
	if err := os.Remove(ready); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	args = append([]string{"dev", "--dir", filepath.Join(dir, "fleet")}, args...)
	program, err := Start("fleet dev", filepath.Join(bin, "fleet"), args, []string{"XDG_CONFIG_HOME=" + config}, echo)
	if err != nil {
		return nil, err
	}
	d := &Dev{Program: program, bin: bin, config: config}
	err = Until(ctx, "fleet dev to be ready", func() (bool, string) {
		data, err := os.ReadFile(ready)
		if err == nil {
			err = json.Unmarshal(data, &d.Ready)
		}
		if err == nil {
			return true, ""
		}
		select {
		case <-program.Done():
			return false, "it ended: " + program.Output()
		default:
			return false, program.Output()
		}
	})
	if err != nil {
		program.Kill()
		return nil, err
	}
	return d, nil
}

// CLI runs the fleet command against this fleet and returns what it printed.
// The error holds what it said.
func (d *Dev) CLI(ctx context.Context, args ...string) (string, error) {
	out, said, err := Run(ctx, filepath.Join(d.bin, "fleet"), args, d.environment())
	if err != nil {
		return out, fmt.Errorf("fleet %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said))
	}
	return out, nil
}

// StartCLI starts the fleet command against this fleet and returns while it runs.
func (d *Dev) StartCLI(args ...string) (*Program, error) {
	return Start("fleet "+strings.Join(args, " "), filepath.Join(d.bin, "fleet"), args, d.environment(), nil)
}

func (d *Dev) environment() []string {
	return []string{"FLEET_NATS_URL=" + d.Server, "FLEET_NKEY=" + d.NKey, "XDG_CONFIG_HOME=" + d.config}
}

// End stops the fleet as Ctrl-C would and reports whether it left cleanly.
func (d *Dev) End() error { return d.Stop(syscall.SIGINT, time.Minute) }
