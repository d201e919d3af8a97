package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
)

// File is a file on a host, replaced as a whole: at no time is there half of it.
type File struct {
	Shell deploy.Shell
	// Path is absolute; missing directories are made.
	Path    string
	Content []byte
	// Mode is 0600 by default.
	Mode fs.FileMode
	// Check is a script that is run on the new content, with its path as $1,
	// before it is put into place; it is refused when it ends with another code
	// than 0. Optional.
	Check string
}

var _ deploy.Resource = (*File)(nil)

// ID implements deploy.Resource.
func (f *File) ID() string { return "file " + f.Path }

const inspectFile = `
[ -e "$1" ] || [ -L "$1" ] || { echo missing; exit 0; }
[ -f "$1" ] && [ ! -L "$1" ] || { echo other; exit 0; }
echo "file $(stat -c '%a %u:%g' "$1") $(sha256sum <"$1" | cut -c1-64)"`

// Plan implements deploy.Resource.
func (f *File) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	out, err := Do(ctx, f.Shell, deploy.Script{Text: inspectFile, Args: []string{f.Path}})
	if err != nil {
		return deploy.Change{}, err
	}
	found := strings.Fields(out)
	missing := len(found) == 1 && found[0] == "missing"
	switch {
	case goal == deploy.Absent && missing:
		return deploy.Unchanged("not there"), nil
	case goal == deploy.Absent:
		return deploy.Change{Action: deploy.ActionDelete, Summary: "remove it"}, nil
	case missing:
		return deploy.Change{Action: deploy.ActionCreate, Summary: fmt.Sprintf("write %d bytes, mode %s", len(f.Content), f.mode())}, nil
	case len(found) != 4:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "replace what is not a regular file"}, nil
	}
	var differs []string
	if found[3] != digest(f.Content) {
		differs = append(differs, "the content")
	}
	if found[1] != f.mode() {
		differs = append(differs, fmt.Sprintf("the mode (%s instead of %s)", found[1], f.mode()))
	}
	if found[2] != "0:0" {
		differs = append(differs, fmt.Sprintf("the owner (%s instead of 0:0)", found[2]))
	}
	if len(differs) == 0 {
		return deploy.Unchanged("up to date"), nil
	}
	return deploy.Change{Action: deploy.ActionUpdate, Summary: "change " + strings.Join(differs, " and ")}, nil
}

// The arguments are path, mode, SHA-256, size in KiB and check. A connection that breaks
// looks like the end of the input, hence the digest. All is flushed before the
// name changes: after a power cut the file is the old or the new one.
const writeFile = `
set -eu
path=$1 mode=$2 sum=$3 need=$4 check=$5
dir=$(dirname "$path")
umask 077
[ -d "$dir" ] || mkdir -p -m 0755 "$dir"
new=$path.fleet-deploy
trap 'rm -f "$new"' EXIT
cat >"$new" || {
	free=$(df -Pk "$dir" | { read -r _; read -r _ _ _ free _; echo "$free"; })
	[ "$free" -ge "$need" ] || { echo "$free KiB free in $dir, $need KiB needed" >&2; exit 91; }
	exit 1
}
[ "$(sha256sum <"$new" | cut -c1-64)" = "$sum" ] || exit 92
chown 0:0 "$new"
chmod "$mode" "$new"
if [ -n "$check" ]; then sh -c "$check" sh "$new" || exit 93; fi
sync "$new" "$dir" 2>/dev/null || sync
if [ -d "$path" ] && [ ! -L "$path" ]; then echo "$path is a directory" >&2; exit 1; fi
mv -f "$new" "$path"`

// Apply implements deploy.Resource.
func (f *File) Apply(ctx context.Context, goal deploy.Goal, _ deploy.Progress) error {
	if goal == deploy.Absent {
		_, err := Do(ctx, f.Shell, deploy.Script{Text: `rm -f "$1"`, Args: []string{f.Path}})
		return err
	}
	need := strconv.Itoa(len(f.Content)/1024 + 1)
	_, err := Do(ctx, f.Shell, deploy.Script{
		Text:  writeFile,
		Args:  []string{f.Path, f.mode(), digest(f.Content), need, f.Check},
		Stdin: bytes.NewReader(f.Content),
	})
	return err
}

func (f *File) mode() string {
	if f.Mode == 0 {
		return "600"
	}
	return strconv.FormatUint(uint64(f.Mode.Perm()), 8)
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
