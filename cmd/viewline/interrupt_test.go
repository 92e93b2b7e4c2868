package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestInterrupt: whoever waits, for a cluster or for standard input, goes at once.
func TestInterrupt(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { require.NoError(t, writer.Close()) }()
	for _, line := range []string{"get a", "status", "load .", "txn", "put a -"} {
		ctx, cancel := context.WithCancel(t.Context())
		codes := make(chan int, 1)
		var errs bytes.Buffer
		go func() {
			codes <- run(ctx, append(strings.Fields(line), "--coordinators", "127.0.0.1:1", "--timeout", "0"), streams{in: silent, out: io.Discard, err: &errs})
		}()
		cancel()
		select {
		case code := <-codes:
			require.Equal(t, exitInterrupted, code, "%s: %s", line, errs.String())
		case <-time.After(10 * time.Second):
			t.Fatal("does not end: " + line)
		}
	}
}
