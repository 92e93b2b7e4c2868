package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/internal/script"
	"github.com/viewline/viewline/txn"
)

func (a *app) txnCommand() *cobra.Command {
	return &cobra.Command{
		Use: "txn [FILE|-]", GroupID: "use", Short: "Run a script as one transaction",
		Long: `Run a script as one strictly serializable transaction. Each line is one step:

  get OID
  put OID VALUE
  delete OID

Words with spaces are quoted as in Go; # begins a comment. A read sees the script's own earlier writes. When
another transaction is in the way the whole script runs again; what it read is written only once it has
committed.`,
		Example: "  printf 'get alice\\nput bob 7\\n' | viewline txn",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			steps, err := await(cmd.Context(), func() ([]script.Step, error) { return a.readScript(arguments) })
			if err != nil {
				return err
			}
			return a.withClerk(cmd.Context(), func(ctx context.Context, c *clerk.Clerk) error {
				var oids []string
				var values []clerk.Value
				err := c.Update(ctx, func(t *clerk.Txn) (err error) {
					oids, values, err = runScript(ctx, t, steps)
					return err
				})
				if err != nil || len(oids) == 0 && a.output == "table" {
					return err
				}
				return a.writeObjects(oids, values)
			})
		},
	}
}

func (a *app) readScript(arguments []string) (steps []script.Step, err error) {
	source := a.in
	if len(arguments) == 1 && arguments[0] != "-" {
		file, err := os.Open(arguments[0])
		if err != nil {
			return nil, usageError{err}
		}
		defer func() { _ = file.Close() }() // it was only read
		source = file
	} else {
		a.sayReading("the script")
	}
	return script.Parse(source)
}

// runScript runs the steps within a transaction and returns what the gets found.
func runScript(ctx context.Context, t *clerk.Txn, steps []script.Step) (oids []string, values []clerk.Value, err error) {
	for _, step := range steps {
		switch step.Verb {
		case script.Get:
			found, err := t.GetMulti(ctx, step.OID)
			if err != nil {
				return nil, nil, err
			}
			oids, values = append(oids, step.OID), append(values, found[0])
		case script.Put:
			err = t.Put(step.OID, []byte(step.Value))
		case script.Delete:
			err = t.Delete(step.OID)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return oids, values, nil
}

func (a *app) outcomeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "outcome ID", GroupID: "use", Short: "Find out what became of a transaction",
		Long: `Find out what became of a transaction whose outcome was unknown, by the id in that error. One that was still
undecided is decided by it: the answer stays true.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			attempt, err := txn.ParseAttempt(arguments[0])
			if err != nil {
				return err
			}
			return a.withClerk(cmd.Context(), func(ctx context.Context, c *clerk.Clerk) error {
				outcome, err := c.Outcome(ctx, attempt)
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.json(map[string]any{"committed": outcome.Committed, "id": outcome.Attempt.String()})
				}
				word := "aborted: it did not happen"
				if outcome.Committed {
					word = "committed"
				}
				_, err = fmt.Fprintln(a.out, word)
				return err
			})
		},
	}
}
