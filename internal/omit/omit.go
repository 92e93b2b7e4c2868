// Package omit lets a test take one safety rule out of a pure machine, to see that the tests notice.
//
// Being internal, it cannot be reached from outside the module; the house's own test refuses any file that
// is not a test or the simulator and puts a rule into a Set. A Set is a value and safe to share.
package omit

// Rule is one rule's number. Each pure machine numbers its own rules, below 64, in its own file.
type Rule uint8

// Set is the rules that are left out; the zero Set leaves none out and is what production runs.
type Set uint64

// Of makes a Set.
func Of(rules ...Rule) Set {
	var set Set
	for _, rule := range rules {
		set |= 1 << rule
	}
	return set
}

// Has reports whether the rule is left out.
func (s Set) Has(rule Rule) bool { return s&(1<<rule) != 0 }
