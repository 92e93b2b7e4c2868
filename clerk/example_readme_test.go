package clerk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
)

// What follows is in the README, word for word.

func pay(ctx context.Context, coordinators []string) error {
	c, err := clerk.Dial(ctx, clerk.Options{Coordinators: coordinators})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Update(ctx, func(tx *clerk.Txn) error {
		values, err := tx.GetMulti(ctx, "alice", "bob")
		if err != nil {
			return err
		}
		alice, _ := strconv.Atoi(string(values[0].Bytes)) // an absent account holds nothing
		bob, _ := strconv.Atoi(string(values[1].Bytes))
		return errors.Join(tx.Put("alice", []byte(strconv.Itoa(alice-10))), tx.Put("bob", []byte(strconv.Itoa(bob+10))))
	})
}

// This is the README's example, on a cluster of its own.
func Example_pay() {
	ctx := context.Background()
	directory, err := os.MkdirTemp("", "viewline-example-")
	if err != nil {
		log.Fatal(err)
	}
	c, err := cluster.Start(ctx, cluster.Options{Directory: directory, Coordinators: 1, Shards: 2, Replicas: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pay(ctx, c.Endpoints()), pay(ctx, c.Endpoints()))
	connected, err := c.Clerk(ctx)
	if err != nil {
		log.Fatal(err)
	}
	values, err := connected.GetMulti(ctx, "alice", "bob")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("alice %s, bob %s\n", values[0].Bytes, values[1].Bytes)
	if err := errors.Join(connected.Close(), c.Close(), os.RemoveAll(directory)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// <nil> <nil>
	// alice -20, bob 20
}

// TestReadme: the example that the README shows is the one that runs above.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```go\n")
	require.True(t, found)
	shown, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	source, err := os.ReadFile("example_readme_test.go")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(shown, "func pay("), shown)
	require.Contains(t, string(source), "\n"+shown, "the README's example is not the compiled one")
}
