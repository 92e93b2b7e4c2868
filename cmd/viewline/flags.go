package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// variable is the name of a flag's environment variable: VIEWLINE_ and its name.
func variable(flag string) string {
	return "VIEWLINE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// setFromEnvironment gives every flag that was not set on the command line the value of its variable.
func setFromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var failure error
	flags.VisitAll(func(flag *pflag.Flag) {
		value, ok := lookup(variable(flag.Name))
		if !ok || flag.Changed || flag.Name == "help" || failure != nil {
			return
		}
		if err := flags.Set(flag.Name, value); err != nil {
			failure = usagef("%s: %w", variable(flag.Name), err)
		}
	})
	return failure
}
