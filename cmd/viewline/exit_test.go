package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/chaos"
	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/tree"
	"github.com/viewline/viewline/txn"
)

func TestJudge(t *testing.T) {
	attempt := txn.Attempt{ID: txn.TxnID{Home: 2, Sequence: 3}, Number: 1, TS: 4}
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{nil, exitOK, ""},
		{usagef("bad"), exitUsage, "--help"},
		{cluster.ErrConfig, exitUsage, ""},
		{clerk.ErrUnavailable, exitUnavailable, "viewline status"},
		{context.DeadlineExceeded, exitUnavailable, "--timeout"},
		{&txn.LimitError{}, exitRefused, ""},
		{&node.InsecureListenError{}, exitRefused, "--insecure"},
		{&node.IdentityError{}, exitRefused, "--data"},
		{cluster.ErrDataMissing, exitRefused, "viewline init"},
		{&clerk.AbortedError{Cause: context.DeadlineExceeded}, exitAborted, "run it again"},
		{errors.New("something else"), exitServer, ""},
		{&clerk.UnknownError{Attempt: attempt, Cause: context.DeadlineExceeded}, exitUnknown, "viewline outcome " + attempt.String()},
		{&clerk.UnknownError{Attempt: attempt, Cause: clerk.ErrOutcomeForgotten}, exitUnknown, "read what it would have written"},
		{clerk.ErrNotFound, exitNotFound, ""},
		{tree.ErrNoTree, exitNotFound, "viewline load"},
		{tree.ErrDiffers, exitVerification, ""},
		{bank.ErrBooks, exitVerification, ""},
		{chaos.ErrStale, exitVerification, ""},
		{errInterrupted{errors.New("x")}, exitInterrupted, ""},
	} {
		wrapped := c.err
		if c.err != nil {
			wrapped = fmt.Errorf("wrapped: %w", c.err)
		}
		code, hint := judge(wrapped)
		require.Equal(t, c.code, code, "%v", c.err)
		if c.hint == "" {
			require.Empty(t, hint, "%v", c.err)
		}
		require.Contains(t, hint, c.hint, "%v", c.err)
	}
}
