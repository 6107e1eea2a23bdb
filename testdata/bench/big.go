package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// importBig has the mains import pkg, or tells why they do not.
func importBig(ctx context.Context, t *tools, w *workload, pkg string) ([]string, error) {
	const file = "internal/big/big.go"
	text, err := bigSource(ctx, t, w, pkg)
	if err == nil {
		return nil, w.writeFile(file, text)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	note := fmt.Sprintf("big binaries: the mains have only the standard library: %v", err)
	return []string{note}, w.writeFile(file, "package big\n\nvar Kept []any\n")
}

// bigSource fetches pkg and returns a package that refers to each function
// that it exports, for the linker would drop what nothing refers to.
func bigSource(ctx context.Context, t *tools, w *workload, pkg string) (string, error) {
	if _, err := output(t.command(ctx, w, "go", "get", pkg)); err != nil {
		return "", fmt.Errorf("go get %s: %w", pkg, err)
	}
	pkg, _, _ = strings.Cut(pkg, "@")
	list := t.command(ctx, w, "go", "list", "-f", "{{.Dir}}{{range .GoFiles}}\n{{.}}{{end}}", pkg)
	list.Env = append(list.Env, "GOOS=linux")
	listed, err := output(list)
	if err != nil {
		return "", fmt.Errorf("go list %s: %w", pkg, err)
	}
	lines := strings.Split(listed, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "// Package big refers to all of %s.\npackage big\n\n", pkg)
	fmt.Fprintf(&b, "import big %q\n\n// Kept is linked.\nvar Kept = []any{\n", pkg)
	for _, name := range lines[1:] {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(lines[0], name), nil, parser.SkipObjectResolution)
		if err != nil {
			return "", err
		}
		for _, function := range exported(f) {
			fmt.Fprintf(&b, "\tbig.%s,\n", function)
		}
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// exported lists the functions that can be referred to as values.
func exported(f *ast.File) []string {
	var names []string
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if ok && fn.Recv == nil && fn.Type.TypeParams == nil && fn.Name.IsExported() {
			names = append(names, fn.Name.Name)
		}
	}
	return names
}
