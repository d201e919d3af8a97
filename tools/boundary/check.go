package boundary

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Violation is one edge that the table forbids.
type Violation struct {
	// Where names the module, and the file or package in it.
	Where string
	// What says which edge is forbidden, and why.
	What string
	// Fix says what to do about it.
	Fix string
}

// String gives the violation in one line.
func (v Violation) String() string { return v.Where + ": " + v.What + "; " + v.Fix }

// Check compares the workspace with the table and returns every violation, sorted.
// It does no I/O.
func Check(table []Rule, w Workspace) []Violation {
	c := checker{rules: map[string]Rule{}}
	for _, rule := range table {
		c.rules[rule.Module] = rule
	}
	c.workspace(w)
	for _, module := range w.Modules {
		rule, ok := c.rules[module.Dir]
		if !ok {
			c.report(module.Dir, "the module is not in the table of allowed dependencies",
				"add it to the table in tools/boundary/table.go")
			continue
		}
		c.goMod(rule, module)
		for _, file := range module.Files {
			for _, imported := range file.Imports {
				c.imported(rule, module, file, imported)
			}
		}
	}
	slices.SortFunc(c.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(c.found)
}

type checker struct {
	rules map[string]Rule
	found []Violation
}

func (c *checker) report(where, what, fix string) {
	c.found = append(c.found, Violation{Where: where, What: what, Fix: fix})
}

func (c *checker) workspace(w Workspace) {
	for _, replaced := range w.Replaced {
		c.report("go.work", "replaces "+replaced+", which GOWORK=off builds do not see",
			"remove the replace")
	}
	for _, module := range w.Modules {
		used := slices.Contains(w.Used, module.Dir)
		detached := c.rules[module.Dir].Detached
		switch {
		case used && detached:
			c.report("go.work", "uses "+module.Dir+", which the table keeps apart", "remove ./"+module.Dir+" from go.work")
		case !used && !detached:
			c.report("go.work", "does not use the module "+module.Dir, "add ./"+module.Dir+" to go.work")
		}
	}
}

// goMod checks the module's path, its requirements and its replacements.
func (c *checker) goMod(rule Rule, module Module) {
	where := path.Join(module.Dir, "go.mod")
	if module.Path != Prefix+module.Dir {
		c.report(where, "declares the module path "+module.Path, "declare "+Prefix+module.Dir)
	}
	replaced := map[string]string{}
	for _, replace := range module.Replaces {
		replaced[replace.Old] = replace.New
		sibling, ok := c.sibling(replace.Old)
		switch {
		case !ok:
			c.report(where, "replaces "+replace.Old+", which is not a module of this repository",
				"remove the replace: those who depend on this module would not see it")
		case !rule.allowsSibling(sibling):
			c.report(where, "replaces "+replace.Old+", which "+module.Dir+" may not depend on", rule.remedy())
		case replace.New != relative(module.Dir, sibling):
			c.report(where, fmt.Sprintf("replaces %s by %s", replace.Old, replace.New),
				"write: replace "+replace.Old+" => "+relative(module.Dir, sibling))
		}
	}
	for _, require := range module.Requires {
		sibling, ok := c.sibling(require.Path)
		switch {
		case !ok && !require.Indirect && !rule.allowsRequire(require.Path):
			c.report(where, "requires "+require.Path, c.advice(rule, require.Path))
		case ok && !rule.allowsSibling(sibling):
			c.report(where, "requires "+require.Path+", which "+module.Dir+" may not depend on", rule.remedy())
		case ok && replaced[require.Path] == "":
			c.report(where, "requires "+require.Path+" without the permanent replace",
				"add: replace "+require.Path+" => "+relative(module.Dir, sibling))
		}
	}
}

// imported checks one import of one file.
func (c *checker) imported(rule Rule, module Module, file File, imported string) {
	where := path.Join(module.Dir, file.Name)
	if imported == "C" {
		c.report(where, "uses cgo, and the binaries are static", "remove import \"C\"")
		return
	}
	if !strings.Contains(strings.Split(imported, "/")[0], ".") {
		return // standard library
	}
	target, ok := c.owner(imported)
	if !ok {
		if under(imported, strings.TrimSuffix(Prefix, "/")) {
			c.report(where, "imports "+imported+", which is in no module of the table",
				"add the module to the table in tools/boundary/table.go")
		} else if !rule.allowsImport(file, imported) {
			c.report(where, "imports "+imported, c.advice(rule, imported))
		}
		return
	}
	if target.Module != module.Dir {
		required := slices.ContainsFunc(module.Requires, func(r Require) bool { return r.Path == Prefix+target.Module })
		switch {
		case !rule.allowsSibling(target.Module):
			c.report(where, "imports "+imported+", and "+module.Dir+" may not depend on "+target.Module, rule.remedy())
			return
		case !required:
			c.report(where, "imports "+imported+", which go.mod does not require and only go.work resolves",
				"require and replace "+Prefix+target.Module+" in "+path.Join(module.Dir, "go.mod"))
		}
	}
	c.restricted(rule, file, where, imported, target)
}

// restricted checks the packages that not everybody who may import their module may import.
func (c *checker) restricted(rule Rule, file File, where, imported string, target Rule) {
	dir := strings.TrimPrefix(strings.TrimPrefix(imported, Prefix+target.Module), "/")
	own := rule.Module == target.Module
	for _, p := range target.Packages {
		inside := own && under(file.Package(), p.Dir)
		if !under(dir, p.Dir) || inside || rule.Free || file.Test() {
			continue
		}
		if p.TestOnly && !rule.testOnly(file) {
			c.report(where, "imports "+imported+" outside of a test",
				"import it from a _test.go file or a test-only package")
		}
		if len(p.ImportedBy) > 0 && !slices.Contains(p.ImportedBy, rule.Module) && !rule.testOnly(file) {
			c.report(where, "imports "+imported+", which only "+strings.Join(p.ImportedBy, ", ")+" and tests may import",
				"move the code there")
		}
	}
}

// sibling returns the table's module with this module path.
func (c *checker) sibling(modulePath string) (string, bool) {
	dir, ok := strings.CutPrefix(modulePath, Prefix)
	return dir, ok
}

// owner returns the rule of the table's module that holds the imported package.
func (c *checker) owner(imported string) (Rule, bool) {
	dir, ok := strings.CutPrefix(imported, Prefix)
	for ok && dir != "." {
		if rule, found := c.rules[dir]; found {
			return rule, true
		}
		dir = path.Dir(dir)
	}
	return Rule{}, false
}

// advice says who may use a third-party package, when somebody may.
func (c *checker) advice(rule Rule, dependency string) string {
	var owners []string
	for _, other := range c.rules {
		if underAny(dependency, other.External) {
			owners = append(owners, other.Module)
		}
		for _, p := range other.Packages {
			if underAny(dependency, p.External) {
				owners = append(owners, path.Join(other.Module, p.Dir))
			}
		}
	}
	if underAny(dependency, rule.Test) {
		return "only tests of " + rule.Module + " may use it: move the code to a _test.go file"
	}
	if len(owners) == 0 {
		return "no module may use it: write the code without it, or allow it in tools/boundary/table.go through an ADR"
	}
	slices.Sort(owners)
	return "only " + strings.Join(slices.Compact(owners), ", ") + " may use it: go through a domain interface instead"
}

// remedy says what the module may depend on.
func (r Rule) remedy() string {
	if len(r.Siblings) == 0 {
		return r.Module + " may depend on no other module: move the code to a module that may"
	}
	return r.Module + " may depend on " + strings.Join(r.Siblings, ", ") +
		" only: move the code to a module that may, or put an interface in domain"
}

func (r Rule) allowsSibling(dir string) bool { return r.Free || slices.Contains(r.Siblings, dir) }

// allowsRequire reports whether some package of the module may import from that third-party module.
func (r Rule) allowsRequire(modulePath string) bool {
	allowed := slices.Concat(r.External, r.Test)
	for _, p := range r.Packages {
		allowed = append(allowed, p.External...)
	}
	return r.Free || underAny(modulePath, allowed)
}

// allowsImport reports whether the file may import that third-party package.
func (r Rule) allowsImport(file File, imported string) bool {
	if r.Free || underAny(imported, r.External) || (r.testOnly(file) && underAny(imported, r.Test)) {
		return true
	}
	return slices.ContainsFunc(r.Packages, func(p PackageRule) bool {
		return under(file.Package(), p.Dir) && underAny(imported, p.External)
	})
}

// testOnly reports whether the file is compiled for tests alone.
func (r Rule) testOnly(file File) bool {
	return file.Test() || slices.ContainsFunc(r.Packages, func(p PackageRule) bool {
		return p.TestOnly && under(file.Package(), p.Dir)
	})
}

// relative gives the path from one module's directory to another's, as go.mod writes it.
func relative(from, to string) string {
	rel, err := filepath.Rel("/"+from, "/"+to)
	if err != nil {
		return to // both are absolute: Rel cannot fail
	}
	rel = filepath.ToSlash(rel)
	if !strings.HasPrefix(rel, "../") {
		rel = "./" + rel
	}
	return rel
}
