package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/chaos"
	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/script"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/internal/tree"
	"github.com/viewline/viewline/txn"
)

// ended is the context of a command that was interrupted.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestJudge(t *testing.T) {
	attempt := txn.Attempt{ID: txn.TxnID{Home: 2, Sequence: 3}, Number: 1, TS: 4}
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{nil, exitOK, ""},
		{usagef("bad"), exitUsage, "viewline get --help"},
		{cluster.ErrConfig, exitUsage, "init --help"},
		{clerk.ErrUnavailable, exitUnavailable, "viewline status"},
		{context.DeadlineExceeded, exitUnavailable, "--timeout"},
		{&txn.LimitError{}, exitRefused, "1 MiB"},
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
		{errInterrupted{errors.New("x"), ""}, exitInterrupted, ""},
		{interrupted(ended(), clerk.ErrUnavailable, runAgain), exitInterrupted, "run it again"},
		{interruptedUse(ended(), clerk.ErrUnavailable), exitInterrupted, ""},
		{interruptedUse(ended(), &clerk.UnknownError{Attempt: attempt, Cause: context.Canceled}), exitUnknown, "viewline outcome " + attempt.String()},
		{errNoCoordinator, exitUnavailable, "start the coordinator's nodes"},
		{&net.OpError{Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, exitRefused, "another address"},
		{errInsecure, exitRefused, "--insecure"},
		{script.ErrSyntax, exitUsage, "txn --help"},
		{txn.ErrMalformedID, exitUsage, "copy the id"},
		{tree.ErrSource, exitUsage, "run it again"},
		{tree.ErrName, exitUsage, "--name"},
		{node.ErrOptions, exitUsage, ""},
		{survey.ErrChangeUnknown, exitUnknown, "viewline member list"},
		{fmt.Errorf("%w: %w", survey.ErrChangeUnknown, survey.ErrMoved), exitUnknown, "viewline member list"},
		{fmt.Errorf("%w: %w", survey.ErrNotChanged, survey.ErrMoved), exitRefused, "run it again"},
		{survey.ErrNotChanged, exitUnavailable, "nothing was changed"},
		{survey.ErrChange, exitRefused, ""},
		{survey.ErrNoPrimary, exitUnavailable, "viewline status"},
		{cluster.ErrJoin, exitRefused, ""},
	} {
		wrapped := c.err
		if c.err != nil {
			wrapped = fmt.Errorf("wrapped: %w", c.err)
		}
		code, hint := judge(wrapped, "viewline get")
		require.Equal(t, c.code, code, "%v", c.err)
		if c.hint == "" {
			require.Empty(t, hint, "%v", c.err)
		}
		require.Contains(t, hint, c.hint, "%v", c.err)
	}
}
