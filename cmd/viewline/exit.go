package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/viewline/viewline/bench"
	"github.com/viewline/viewline/bench/backends"
	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/chaos"
	"github.com/viewline/viewline/internal/demo"
	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/registers"
	"github.com/viewline/viewline/internal/script"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/internal/tree"
	"github.com/viewline/viewline/txn"
)

// The exit codes; exitCodesHelp documents them.
const (
	exitOK = iota
	exitUsage
	exitUnavailable
	exitRefused
	exitAborted
	exitServer
	exitUnknown
	exitNotFound
	exitVerification
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
  0  done
  1  usage: flags, arguments, configuration, a script or a directory are wrong
  2  unavailable: no primary answered in time; nothing happened
  3  refused: a limit, an insecure address, one that is taken, a directory of another replica
  4  aborted: the transaction certainly did not happen
  5  server error
  6  outcome unknown: the transaction may have happened
  7  not found
  8  verification failed
  130  interrupted`

// usageError is an error of the command line itself.
type usageError struct{ err error }

// Error is the error's own.
func (e usageError) Error() string { return e.err.Error() }

// Unwrap gives the error.
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, arguments ...any) error {
	return usageError{fmt.Errorf(format, arguments...)}
}

// verdict is one line of the table that turns errors into exit codes: the code, and what to do next.
type verdict struct {
	errors []error
	code   int
	hint   string
}

// verdicts are looked through in order: the first that fits counts.
func verdicts() []verdict { return slices.Concat(outcomes(), refusals(), usages()) }

// outcomes are what a cluster or a check has said.
func outcomes() []verdict {
	return []verdict{
		{
			[]error{clerk.ErrOutcomeForgotten},
			exitUnknown,
			"the transaction is older than its shards remember: read what it would have written",
		},
		{
			[]error{
				chaos.ErrStale, chaos.ErrDiverged, chaos.ErrVoid, chaos.ErrStuck, registers.ErrNotLinearizable, registers.ErrUndecided,
				tree.ErrDiffers, tree.ErrFormat, bank.ErrBooks, errSimulation, backends.ErrPolicy, backends.ErrVoid, backends.ErrDiffers,
			},
			exitVerification, "",
		},
		{
			[]error{tree.ErrNoTree},
			exitNotFound,
			"load it first: viewline load DIR",
		},
		{[]error{clerk.ErrNotFound, tree.ErrNoEntry}, exitNotFound, ""},
		{[]error{errNotServing}, exitUnavailable, ""},
		{
			[]error{survey.ErrNoPrimary},
			exitUnavailable,
			"see what is wrong with the group: viewline status",
		},
		{
			[]error{survey.ErrTransferUnknown},
			exitUnknown,
			"see who is primary: viewline status",
		},
		{
			[]error{survey.ErrChangeUnknown},
			exitUnknown,
			"see who is a member: viewline member list",
		},
		{
			[]error{survey.ErrMoved},
			exitRefused,
			"see who is a member now: viewline member list; and run it again if it is still what you want",
		},
		{
			[]error{survey.ErrNotChanged},
			exitUnavailable,
			"nothing was changed; allow more time: --timeout, or see what is wrong: viewline member list",
		},
		{
			[]error{survey.ErrNotTransferred},
			exitUnavailable,
			"see which replicas lag: viewline status",
		},
		{
			[]error{errNoCoordinator},
			exitUnavailable,
			"start the coordinator's nodes, or give their addresses: --coordinators HOST:PORT,...",
		},
		{
			[]error{clerk.ErrUnavailable},
			exitUnavailable,
			"see which nodes answer: viewline status; or give the coordinator's addresses: --coordinators HOST:PORT,...",
		},
		{
			[]error{clerk.ErrAborted},
			exitAborted,
			"nothing happened: run it again",
		},
	}
}

// refusals are what is not done on purpose.
func refusals() []verdict {
	return []verdict{
		{
			[]error{cluster.ErrDataMissing, node.ErrNotFormatted},
			exitRefused,
			"set a new cluster up with: viewline init CLUSTER.toml; a replica that has lost its data comes back with: viewline init --join GROUP --replica N, and never with an old copy",
		},
		{
			[]error{errNotForced},
			exitRefused,
			"read what may be lost; to go on: --accept-loss",
		},
		{
			[]error{cluster.ErrForce},
			exitRefused,
			"give the directories of all the group's nodes that there are: viewline force --help",
		},
		{
			[]error{cluster.ErrForceBackend},
			exitRefused,
			"put the disks of a majority back and start their nodes; if they are lost for good, so is the group: set up a new cluster",
		},
		{
			[]error{cluster.ErrBackend},
			exitRefused,
			"set backend in the node's file as it was, or point --data at the right directory",
		},
		{
			[]error{survey.ErrUnchangeable},
			exitRefused,
			"the group keeps the members that it began with; for others, set up a new cluster, and see: viewline init --help",
		},
		{
			[]error{node.ErrInUse},
			exitRefused,
			"another process runs this replica: stop it first",
		},
		{
			[]error{syscall.EADDRINUSE},
			exitRefused,
			"another program listens there: stop it, or give this node another address",
		},
		{
			[]error{errInsecure},
			exitRefused,
			"pass --insecure if only trusted machines reach that network",
		},
		{
			[]error{txn.ErrLimit},
			exitRefused,
			"an oid has 1 to 4,096 bytes, a value up to 1 MiB, a transaction up to 10,000 keys and 16 MiB",
		},
		{
			[]error{cluster.ErrLayoutChanged},
			exitRefused,
			"a running cluster's members are changed with: viewline member; or use the old layout, or another directory",
		},
		{
			[]error{clerk.ErrRefused, clerk.ErrSnapshotTooOld, survey.ErrNoReplica, survey.ErrClusters, survey.ErrChange, cluster.ErrJoin, node.ErrNotEmpty, node.ErrIdentity},
			exitRefused, "",
		},
	}
}

// usages are what was written wrong.
func usages() []verdict {
	return []verdict{
		{
			[]error{clerk.ErrOptions},
			exitUsage,
			"give the coordinator's addresses: --coordinators HOST:PORT,...",
		},
		{
			[]error{cluster.ErrConfig},
			exitUsage,
			"for a whole cluster's file see: viewline init --help; a node's file is as init wrote it",
		},
		{
			[]error{txn.ErrMalformedID},
			exitUsage,
			"copy the id from the error that said that an outcome is unknown",
		},
		{
			[]error{script.ErrSyntax},
			exitUsage,
			"nothing was run; see: viewline txn --help",
		},
		{
			[]error{tree.ErrSource},
			exitUsage,
			"mend that and run it again: what is stored already is not stored again",
		},
		{
			[]error{tree.ErrName},
			exitUsage,
			"choose another: --name NAME",
		},
		{
			[]error{cluster.ErrOptions, node.ErrOptions, chaos.ErrOptions, demo.ErrOptions, bench.ErrOptions, backends.ErrOptions, backends.ErrResults},
			exitUsage, "",
		},
	}
}

// judge gives an error's exit code and, where there is something to do, a hint. The command is as it is called.
func judge(err error, command string) (code int, hint string) {
	var usage usageError
	var insecure *node.InsecureListenError
	var identity *node.IdentityError
	var stopped errInterrupted
	var unknown *clerk.UnknownError
	switch {
	case err == nil:
		return exitOK, ""
	case errors.As(err, &stopped):
		return exitInterrupted, stopped.hint
	case errors.As(err, &unknown) && !errors.Is(err, clerk.ErrOutcomeForgotten):
		return exitUnknown, "ask what became of it: viewline outcome " + unknown.Attempt.String()
	case errors.As(err, &usage):
		return exitUsage, "see: " + command + " --help"
	case errors.As(err, &insecure):
		return exitRefused, "pass --insecure if only trusted machines reach that network"
	case errors.As(err, &identity):
		return exitRefused, "point --data at this replica's own directory"
	}
	for _, v := range verdicts() {
		for _, target := range v.errors {
			if errors.Is(err, target) {
				return v.code, v.hint
			}
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitUnavailable, "allow more time: --timeout"
	}
	return exitServer, ""
}
