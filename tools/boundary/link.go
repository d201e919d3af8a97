package boundary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Targets are the platforms, as GOOS/GOARCH, whose linked packages are checked.
func Targets() []string { return []string{"linux/amd64", "linux/arm64"} }

// Links are the packages below one directory of a module and all that they import, transitively.
type Links struct {
	// Roots are the packages that the links start from.
	Roots []string
	// Imports gives, for each package, the packages it imports.
	Imports map[string][]string
}

// CheckLinks returns a violation for each forbidden package tree that is linked, with
// one shortest chain of imports that leads to it. Where names the checked directory. It does no I/O.
func CheckLinks(where string, rule LinkRule, links Links) []Violation {
	var found []Violation
	parent := map[string]string{}
	queue := slices.Clone(links.Roots)
	for _, root := range links.Roots {
		parent[root] = ""
	}
	reported := map[string]bool{}
	for len(queue) > 0 {
		current := queue[0]
		queue = queue[1:]
		if i := slices.IndexFunc(rule.Forbidden, func(prefix string) bool { return under(current, prefix) }); i >= 0 {
			if prefix := rule.Forbidden[i]; !reported[prefix] {
				reported[prefix] = true
				found = append(found, Violation{
					Where: where,
					What:  "links " + current + " through " + chain(parent, current),
					Fix:   "nothing below " + prefix + " may be linked here: cut this chain, usually by moving code to a package of its own",
				})
			}
			continue
		}
		for _, next := range links.Imports[current] {
			if _, seen := parent[next]; !seen {
				parent[next] = current
				queue = append(queue, next)
			}
		}
	}
	return found
}

// chain writes the imports that lead to the package, the package included.
func chain(parent map[string]string, to string) string {
	steps := []string{to}
	for at := parent[to]; at != ""; at = parent[at] {
		steps = append(steps, strings.TrimPrefix(at, Prefix))
	}
	slices.Reverse(steps)
	return strings.Join(steps, " → ")
}

// LoadLinks asks the go command, without go.work, what the packages below dir link on
// the target (GOOS/GOARCH). It needs the module's dependencies, and downloads those that
// are missing. Cancelling ctx ends the go command.
func LoadLinks(ctx context.Context, dir, target string) (Links, error) {
	goos, goarch, _ := strings.Cut(target, "/")
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=ImportPath,Imports,DepOnly", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Links{}, fmt.Errorf("list what %s links on %s: %w\n%s", dir, target, err, stderr.Bytes())
	}
	links := Links{Imports: map[string][]string{}}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath string
			Imports    []string
			DepOnly    bool
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return links, nil
		}
		if err != nil {
			return Links{}, fmt.Errorf("read what %s links on %s: %w", dir, target, err)
		}
		links.Imports[p.ImportPath] = p.Imports
		if !p.DepOnly {
			links.Roots = append(links.Roots, p.ImportPath)
		}
	}
}

// CheckAllLinks loads and checks the link rules of every module of the workspace below root.
// A rule whose directory does not exist yet is passed over.
func CheckAllLinks(ctx context.Context, root string, table []Rule, w Workspace) ([]Violation, error) {
	var found []Violation
	for _, rule := range table {
		if !slices.ContainsFunc(w.Modules, func(m Module) bool { return m.Dir == rule.Module }) {
			continue
		}
		for _, link := range rule.Links {
			where := path.Join(rule.Module, link.Dir)
			dir := filepath.Join(root, filepath.FromSlash(where))
			if _, err := os.Stat(dir); os.IsNotExist(err) {
				continue
			}
			for _, target := range Targets() {
				links, err := LoadLinks(ctx, dir, target)
				if err != nil {
					return nil, err
				}
				found = append(found, CheckLinks(where+" on "+target, link, links)...)
			}
		}
	}
	return found, nil
}
