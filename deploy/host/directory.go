package host

import (
	"context"
	"fmt"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
)

// Directory is a directory of root's that nobody else may read. Its removal
// removes all that is in it.
type Directory struct {
	Shell deploy.Shell
	// Path is absolute.
	Path string
}

var _ deploy.Resource = (*Directory)(nil)

// ID implements deploy.Resource.
func (d *Directory) ID() string { return "directory " + d.Path }

// Plan implements deploy.Resource.
func (d *Directory) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	out, err := Do(ctx, d.Shell, deploy.Script{
		Text: `if [ -d "$1" ]; then stat -L -c '%a %u:%g' "$1"; elif [ -e "$1" ] || [ -L "$1" ]; then echo other; fi`,
		Args: []string{d.Path},
	})
	if err != nil {
		return deploy.Change{}, err
	}
	switch found := strings.TrimSpace(out); {
	case goal == deploy.Absent && found == "":
		return deploy.Unchanged("not there"), nil
	case goal == deploy.Absent:
		return deploy.Change{Action: deploy.ActionDelete, Summary: "remove it with all that is in it"}, nil
	case found == "":
		return deploy.Change{Action: deploy.ActionCreate, Summary: "make it, mode 700"}, nil
	case found == "700 0:0":
		return deploy.Unchanged("up to date"), nil
	default:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: fmt.Sprintf("change mode and owner (%s instead of 700 0:0)", found)}, nil
	}
}

// Apply implements deploy.Resource.
func (d *Directory) Apply(ctx context.Context, goal deploy.Goal, _ deploy.Progress) error {
	text := `set -e; mkdir -p "$1"; chown 0:0 "$1"; chmod 700 "$1"`
	if goal == deploy.Absent {
		text = `rm -rf "$1"`
	}
	_, err := Do(ctx, d.Shell, deploy.Script{Text: text, Args: []string{d.Path}})
	return err
}
