package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/txn"
)

// object is how one object is written as JSON. What is not UTF-8 is no JSON string and written in base64.
type object struct {
	OID         string  `json:"oid,omitempty"`
	OIDBase64   []byte  `json:"oid_base64,omitempty"`
	Present     bool    `json:"present"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func newObject(oid string, value clerk.Value) object {
	o := object{Present: value.Present}
	if utf8.ValidString(oid) {
		o.OID = oid
	} else {
		o.OIDBase64 = []byte(oid)
	}
	switch {
	case !value.Present:
	case utf8.Valid(value.Bytes):
		text := string(value.Bytes)
		o.Value = &text
	default:
		o.ValueBase64 = value.Bytes
	}
	return o
}

// word writes an oid as a script would: plain where that is enough, else quoted, so that no oid disturbs a table
// or a terminal.
func word(oid string) string {
	if quoted := strconv.Quote(oid); len(quoted) != len(oid)+2 || strings.ContainsAny(oid, " #`") {
		return quoted
	}
	return oid
}

func (a *app) getCommand() *cobra.Command {
	var latest bool
	command := &cobra.Command{
		Use: "get OID...", GroupID: "use", Short: "Read objects, all at one snapshot",
		Long: `Read objects, all at one snapshot that holds everything acknowledged before. One object's value is written as
it is, with a newline; several as a table. An object that is not there makes the exit code 7.`,
		Example: "  viewline get alice\n  viewline get alice bob -o json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, oids []string) error {
			if latest && len(oids) > 1 {
				return usagef("--latest reads one object")
			}
			return a.withClerk(cmd.Context(), func(ctx context.Context, c *clerk.Clerk) error {
				values, err := read(ctx, c, oids, latest)
				if err != nil {
					return err
				}
				return errors.Join(a.writeFound(oids, values), allPresent(oids, values))
			})
		},
	}
	command.Flags().BoolVar(&latest, "latest", false, "ask the shard's primary alone: linearizable for this object, without a snapshot")
	return command
}

func read(ctx context.Context, c *clerk.Clerk, oids []string, latest bool) ([]clerk.Value, error) {
	if !latest {
		return c.GetMulti(ctx, oids...)
	}
	value, err := c.GetLatest(ctx, oids[0])
	if errors.Is(err, clerk.ErrNotFound) {
		return []clerk.Value{{}}, nil
	}
	return []clerk.Value{{Present: true, Bytes: value}}, err
}

// writeFound writes the value of a single object bare, so that it can be used as it is.
func (a *app) writeFound(oids []string, values []clerk.Value) error {
	if a.output == "json" || len(oids) > 1 {
		return a.writeObjects(oids, values)
	}
	if !values[0].Present {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "%s\n", values[0].Bytes)
	return err
}

func (a *app) writeObjects(oids []string, values []clerk.Value) error {
	if a.output == "json" {
		objects := make([]object, len(oids))
		for i, value := range values {
			objects[i] = newObject(oids[i], value)
		}
		return a.json(objects)
	}
	rows := make([][]any, len(oids))
	for i, value := range values {
		shown := "(not found)"
		if value.Present {
			shown = fmt.Sprintf("%q", value.Bytes)
		}
		rows[i] = []any{word(oids[i]), shown}
	}
	return a.table([]string{"oid", "value"}, rows)
}

func allPresent(oids []string, values []clerk.Value) error {
	for i, value := range values {
		if !value.Present {
			return fmt.Errorf("%w: %.100q", clerk.ErrNotFound, oids[i])
		}
	}
	return nil
}

func (a *app) putCommand() *cobra.Command {
	return &cobra.Command{
		Use: "put OID VALUE|-", GroupID: "use", Short: "Write one object",
		Long:    "Write one object, whatever it held before. The value - is read from standard input, as it is.",
		Example: "  viewline put alice 100\n  viewline put picture - <picture.png",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			value := []byte(arguments[1])
			if arguments[1] == "-" {
				a.sayReading("the value")
				var err error
				// One byte more than allowed is enough to be refused.
				value, err = await(cmd.Context(), func() ([]byte, error) { return io.ReadAll(io.LimitReader(a.in, txn.ValueBytesMax+1)) })
				if err != nil {
					return fmt.Errorf("standard input: %w", err)
				}
			}
			return a.withClerk(cmd.Context(), func(ctx context.Context, c *clerk.Clerk) error {
				return c.Put(ctx, arguments[0], value)
			})
		},
	}
}

func (a *app) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete OID...", GroupID: "use", Short: "Delete objects, all or none",
		Long: "Delete objects in one transaction. One that is not there already is as good as deleted.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, oids []string) error {
			return a.withClerk(cmd.Context(), func(ctx context.Context, c *clerk.Clerk) error {
				return c.Update(ctx, func(t *clerk.Txn) error {
					var err error
					for _, oid := range oids {
						err = errors.Join(err, t.Delete(oid))
					}
					return err
				})
			})
		},
	}
}
