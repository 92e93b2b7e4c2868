package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// Kinds are those of faults, by name. What stands before a hyphen names a family.
func Kinds() []string {
	kinds := []string{"kill", "kill-all", "end", "end-all", "stop", "alone", "one-way", "split", "pair", "slow", "corrupting", "stall", "broken"}
	for _, family := range []string{"clerks", "coordinator", "shards"} {
		for _, m := range manners() {
			kinds = append(kinds, family+"-"+string(m))
		}
	}
	return append(kinds, "replace", "replace-primary", "replace-coordinator", "grow", "wipe")
}

// ofProcesses reports whether a kind hurts processes, and nothing else.
func ofProcesses(kind string) bool {
	return slices.ContainsFunc([]string{"kill", "end", "stop"}, func(family string) bool { return matches(kind, family) })
}

// matches reports whether a kind is the one that was asked for, or of the family.
func matches(kind, asked string) bool {
	return kind == asked || strings.HasPrefix(kind, asked+"-")
}

// asksFor reports whether a kind of faults is to be: all are, unless some were named.
func (o *Options) asksFor(kind string) bool {
	return len(o.Kinds) == 0 || slices.ContainsFunc(o.Kinds, func(asked string) bool { return matches(kind, asked) })
}

func (o *Options) validateKinds() error {
	for _, asked := range o.Kinds {
		if !slices.ContainsFunc(Kinds(), func(kind string) bool { return matches(kind, asked) }) {
			return fmt.Errorf("%w: no faults of kind %q, there are %s", ErrOptions, asked, strings.Join(Kinds(), ", "))
		}
	}
	return nil
}

// lacks names a kind of faults that the run was to have and had none of, or is empty.
func (r *Result) lacks(wanted []string) string {
	for _, asked := range wanted {
		had := false
		for kind, times := range r.Kinds {
			had = had || times > 0 && matches(kind, asked)
		}
		if !had {
			return asked
		}
	}
	return ""
}
