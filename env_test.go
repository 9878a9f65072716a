package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// makers start a process, or are the literal that describes one.
var makers = map[string]bool{
	"exec.Command": true, "exec.CommandContext": true, "exec.Cmd": true, "os.ProcAttr": true, "syscall.ProcAttr": true,
}

// TestEnvironmentsAreNeverNil: to os/exec a nil environment means that of the
// calling process, with its secrets, and an empty list becomes nil unseen. So who
// starts a process says its environment, and says it in a way that cannot be nil.
func TestEnvironmentsAreNeverNil(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "vendor"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, at := range nilEnvironments(f) {
			t.Errorf("%s: the environment may be nil, and the process then has ours; write append([]string{}, ENV...)", files.Position(at))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNilEnvironmentsAreFound(t *testing.T) {
	for body, found := range map[string]int{
		`cmd := exec.Command("x"); cmd.Env = env`:                                      1,
		`cmd := exec.Command("x"); cmd.Env = kept(env)`:                                1,
		`cmd := exec.Command("x"); cmd.Env = append(env, more...)`:                     1,
		`cmd := exec.Command("x"); cmd.Env, cmd.Dir = nil, "/"`:                        1,
		`cmd := exec.Command("x"); _ = cmd.Run()`:                                      1,
		`_ = &exec.Cmd{Env: env}`:                                                      1,
		`_, _ = os.StartProcess("x", nil, &os.ProcAttr{Dir: "/"})`:                     1,
		`cmd := exec.Command("x"); cmd.Env = os.Environ()`:                             0,
		`cmd := exec.Command("x"); cmd.Env = append(env, "A=1")`:                       0,
		`cmd := exec.Command("x"); cmd.Env = append([]string{}, env...)`:               0,
		`cmd := exec.Command("x"); cmd.Dir, cmd.Env = "/", append([]string{}, env...)`: 0,
		`_ = &os.ProcAttr{Env: append([]string{}, env...)}`:                            0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; func f() { "+body+" }", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := nilEnvironments(f); len(got) != found {
			t.Errorf("%s: found %d, want %d", body, len(got), found)
		}
	}
}

// nilEnvironments are the places of a file where a process is started with an
// environment that may be nil: where one is said, and functions that say none.
func nilEnvironments(f *ast.File) (found []token.Pos) {
	for _, d := range f.Decls {
		said, starts := false, token.NoPos
		var nils []token.Pos
		say := func(e ast.Expr) {
			if said = true; !neverNil(e) {
				nils = append(nils, e.Pos())
			}
		}
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if makers[name(n.Fun)] {
					starts = n.Pos()
				}
			case *ast.CompositeLit:
				if !makers[name(n.Type)] {
					break
				}
				starts = n.Pos()
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && name(kv.Key) == "Env" {
						say(kv.Value)
					}
				}
			case *ast.AssignStmt:
				for i, to := range n.Lhs {
					if sel, ok := to.(*ast.SelectorExpr); ok && sel.Sel.Name == "Env" && len(n.Rhs) == len(n.Lhs) {
						say(n.Rhs[i])
					}
				}
			}
			return true
		})
		if starts.IsValid() && !said {
			nils = append(nils, starts)
		}
		if starts.IsValid() { // otherwise another thing has an Env
			found = append(found, nils...)
		}
	}
	return found
}

// name is that of an identifier, with its package.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	}
	return ""
}

// neverNil tells whether an expression is a slice by its form alone.
func neverNil(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		return name(e.Fun) == "os.Environ" ||
			name(e.Fun) == "append" && (neverNil(e.Args[0]) || len(e.Args) > 1 && !e.Ellipsis.IsValid())
	}
	return false
}
