package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/internal/tree"
)

func (a *app) loadCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use: "load [DIR]", GroupID: "use", Short: "Store a directory tree",
		Long: `Store a directory tree: one transaction for each directory, with the size, mode and SHA-256 of each file. It can be
interrupted and run again: what is stored as it should be is not written again, and what is gone is removed.
DIR defaults to the source of the Go installation. Another directory stored under the same name takes its place.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return a.withTree(cmd, arguments, name, func(ctx context.Context, stored *tree.Tree, source *tree.Source, progress func(tree.Report)) (tree.Report, error) {
				return stored.Load(ctx, source, tree.LoadOptions{Progress: progress})
			}, "loaded")
		},
	}
	command.Flags().StringVar(&name, "name", "", "what to call the tree; default: the directory's own name (VIEWLINE_NAME)")
	return command
}

func (a *app) verifyCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use: "verify [DIR]", GroupID: "use", Short: "Compare a directory tree with what is stored",
		Long: `Compare a directory tree with what is stored, everything at one snapshot: every entry, size, mode, SHA-256 and link.
The exit code is 8 when anything differs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return a.withTree(cmd, arguments, name, func(ctx context.Context, stored *tree.Tree, source *tree.Source, progress func(tree.Report)) (tree.Report, error) {
				return stored.Verify(ctx, source, tree.VerifyOptions{Progress: progress})
			}, "verified")
		},
	}
	command.Flags().StringVar(&name, "name", "", "what the tree is called; default: the directory's own name (VIEWLINE_NAME)")
	return command
}

// withTree runs a load or a verification and writes its report. These take as long as they take: --timeout bounds
// them only if it was asked for.
func (a *app) withTree(cmd *cobra.Command, arguments []string, name string,
	use func(context.Context, *tree.Tree, *tree.Source, func(tree.Report)) (tree.Report, error), did string,
) (err error) {
	ctx := cmd.Context()
	defer func() { err = interrupted(cmd.Context(), err, runAgain) }()
	if cmd.Flags().Changed("timeout") {
		limited, cancel := a.limited(ctx)
		defer cancel()
		ctx = limited
	}
	directory, err := treeDirectory(ctx, arguments)
	if err != nil {
		return err
	}
	source, err := tree.Open(directory)
	if err != nil {
		return err
	}
	if name == "" {
		name = filepath.Base(directory)
	}
	named, err := tree.New(nil, name)
	if err != nil {
		return err
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	total, err := source.Count()
	if err != nil {
		return err
	}
	began := time.Now()
	watch := a.progress()
	report, err := use(ctx, named.With(c), source, func(done tree.Report) { watch.tree(done, total) })
	watch.clear()
	if err != nil {
		return err
	}
	return a.writeReport(did, directory, name, report, time.Since(began))
}

// treeDirectory is the directory that was named, or else the source of the Go installation.
func treeDirectory(ctx context.Context, arguments []string) (string, error) {
	if len(arguments) > 0 {
		return filepath.Abs(arguments[0])
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", usagef("no directory given, and the Go installation's was not found: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src"), nil
}

func (a *app) writeReport(did, directory, name string, report tree.Report, took time.Duration) error {
	if a.output == "json" {
		return a.json(struct {
			Directory string `json:"directory"`
			Name      string `json:"name"`
			tree.Report
			Seconds float64 `json:"seconds"`
		}{directory, name, report, took.Seconds()})
	}
	text := fmt.Sprintf("%s %s as %q: %d directories, %d files, %d links, %s in %.1f s\n",
		did, directory, name, report.Directories, report.Files, report.Links, size(report.Bytes), took.Seconds())
	if report.Skipped > 0 {
		text += fmt.Sprintf("skipped %d entries that are no directory, file or link\n", report.Skipped)
	}
	if did == "loaded" {
		text += fmt.Sprintf("%d write transactions, %d entries removed\n", report.Transactions, report.Removed)
	}
	_, err := fmt.Fprint(a.out, text)
	return err
}
