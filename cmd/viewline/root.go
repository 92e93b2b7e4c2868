package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/clerk"
)

// defaultCoordinators is where a client looks when it is told nothing: the coordinator of examples/cluster.toml.
func defaultCoordinators() []string {
	return []string{"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"}
}

// errInsecure: a coordinator's address is beyond loopback, and the connection would be plaintext.
var errInsecure = errors.New("refusing plaintext")

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is what all commands share: the persistent flags.
type app struct {
	streams
	coordinators []string
	output       string
	timeout      time.Duration
	insecure     bool
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, arguments []string, io streams) int {
	a := &app{streams: io}
	root := a.root()
	root.SetArgs(arguments)
	command, err := root.ExecuteContextC(ctx)
	code, hint := judge(err, command.CommandPath())
	if err != nil {
		fmt.Fprintf(io.err, "viewline: %v\n", err)
		if hint != "" {
			fmt.Fprintf(io.err, "  %s\n", hint)
		}
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "viewline",
		Short: "A replicated, sharded store with strictly serializable transactions",
		Long: `viewline is a replicated, sharded key-value store with strictly serializable transactions over any
number of keys and shards. Every group of replicas runs Viewstamped Replication, or Raft where it was set up so.

See it work, with nothing set up:   viewline demo

` + exitCodesHelp,
		SilenceErrors: true,
		// How many letters an unknown command may be away from a known one to be taken for it.
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := environment(cmd); err != nil {
				return err
			}
			return a.validate()
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringSliceVar(&a.coordinators, "coordinators", defaultCoordinators(),
		"addresses of the coordinator's replicas; one that answers is enough (VIEWLINE_COORDINATORS)")
	flags.StringVarP(&a.output, "output", "o", "table", "how to write results: table or json (VIEWLINE_OUTPUT)")
	flags.DurationVar(&a.timeout, "timeout", 10*time.Second, "give up after this time; 0: never (VIEWLINE_TIMEOUT)")
	flags.BoolVar(&a.insecure, "insecure", false, "allow plaintext on addresses that other machines reach (VIEWLINE_INSECURE)")
	root.AddGroup(
		&cobra.Group{ID: "use", Title: "Use a cluster:"}, &cobra.Group{ID: "run", Title: "Run a cluster:"},
		&cobra.Group{ID: "try", Title: "Try it:"})
	root.AddCommand(a.initCommand(), a.nodeCommand("coordinator"), a.nodeCommand("shardserver"), a.transferCommand(), a.memberCommand(), a.forceCommand(), a.statusCommand(),
		a.getCommand(), a.putCommand(), a.deleteCommand(), a.txnCommand(), a.outcomeCommand(),
		a.loadCommand(), a.verifyCommand(), a.demoCommand(), a.chaosCommand(), a.benchCommand(), a.simCommand(), a.versionCommand())
	usageErrors(root)
	return root
}

// validate checks the persistent flags.
func (a *app) validate() error {
	if a.output != "table" && a.output != "json" {
		return usagef("--output is %q, need table or json", a.output)
	}
	if a.timeout < 0 {
		return usagef("--timeout is %v, need 0 or more", a.timeout)
	}
	return nil
}

// knownCommand refuses what is no command, and says what may have been meant.
func knownCommand(root *cobra.Command, arguments []string) error {
	if len(arguments) == 0 {
		return nil
	}
	err := usagef("unknown command %q", arguments[0])
	if meant := root.SuggestionsFor(arguments[0]); len(meant) > 0 {
		err = usagef("unknown command %q; did you mean %s?", arguments[0], strings.Join(meant, " or "))
	}
	return err
}

// usageErrors makes wrong arguments of every command below another usage errors.
func usageErrors(root *cobra.Command) {
	for _, command := range root.Commands() {
		usageErrors(command)
		if check := command.Args; check != nil {
			command.Args = func(cmd *cobra.Command, arguments []string) error {
				if check(cmd, arguments) != nil {
					return usagef("%d arguments do not fit; usage: %s", len(arguments), cmd.UseLine())
				}
				return nil
			}
		}
	}
}

// limited bounds a command by --timeout.
func (a *app) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.timeout)
}

// dial connects a clerk. The time for that is --timeout even for commands that run longer.
func (a *app) dial(ctx context.Context) (*clerk.Clerk, error) {
	limited, cancel := a.limited(ctx)
	defer cancel()
	if err := a.secure(); err != nil {
		return nil, err
	}
	return clerk.Dial(limited, a.clerkOptions())
}

func (a *app) clerkOptions() clerk.Options {
	return clerk.Options{Coordinators: a.coordinators, Insecure: a.insecure}
}

// secure checks the coordinator's addresses, and others that are to be talked to. The error is errInsecure when --insecure
// would make them right.
func (a *app) secure(others ...string) error {
	options := a.clerkOptions()
	options.Coordinators = slices.Concat(options.Coordinators, others)
	err := options.Validate()
	if err == nil {
		return nil
	}
	if options.Insecure = true; options.Validate() == nil {
		return fmt.Errorf("%w to %s: not all of it is on loopback", errInsecure, strings.Join(options.Coordinators, ","))
	}
	return err
}

// withClerk runs a function with a clerk, both bounded by --timeout.
func (a *app) withClerk(ctx context.Context, use func(context.Context, *clerk.Clerk) error) (err error) {
	whole := ctx
	defer func() { err = interruptedUse(whole, err) }()
	ctx, cancel := a.limited(ctx)
	defer cancel()
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return use(ctx, c)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			build := buildVersion()
			if a.output == "json" {
				return a.json(build)
			}
			_, err := fmt.Fprintf(a.out, "viewline %s (%s, %s)\n", build.Version, build.Revision, build.Go)
			return err
		},
	}
}

type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

// buildVersion reads what the Go tool wrote into the binary.
func buildVersion() version {
	v := version{Version: "(devel)", Revision: "unknown revision"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	v.Go = info.GoVersion
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			v.Revision = setting.Value
		}
	}
	return v
}

// environment gives every flag that was not set on the command line the value of its variable: VIEWLINE_ and its
// name.
func environment(cmd *cobra.Command) error {
	return setFromEnvironment(cmd.Flags(), os.LookupEnv)
}
