package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryRuleIsInTheTableOfMutations: docs/MUTATIONS.md has a section for each room that has rules (`room` in its
// heading), with one row for each rule, in their order, and no row for a rule that is gone.
func TestEveryRuleIsInTheTableOfMutations(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "MUTATIONS.md"))
	require.NoError(t, err)
	listed := rulesListed(string(text))
	rules := map[string][]string{}
	for _, file := range sourceFiles(t) {
		if found := rulesOf(t, file.text); len(found) > 0 {
			room := filepath.ToSlash(filepath.Dir(file.path))
			rules[room] = append(rules[room], found...)
		}
	}
	require.GreaterOrEqual(t, len(rules), 6, "rooms with rules: the test would prove nothing")
	for room, names := range rules {
		require.Equal(t, names, listed[room], "the rules of %s, and the rows of its section in docs/MUTATIONS.md", room)
	}
	require.Len(t, listed, len(rules), "docs/MUTATIONS.md has rows for a room without rules")
}

// rulesListed returns the rows of each section.
func rulesListed(text string) map[string][]string {
	heading, row := regexp.MustCompile("^## .*\\(`([^`]+)`\\)"), regexp.MustCompile("^\\| `(Rule\\w+)` \\|")
	listed := map[string][]string{}
	room := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "## ") {
			room = ""
		}
		if found := heading.FindStringSubmatch(line); found != nil {
			room = found[1]
		} else if found := row.FindStringSubmatch(line); found != nil {
			listed[room] = append(listed[room], found[1])
		}
	}
	return listed
}

// rulesOf returns the constants of type omit.Rule whose names begin with Rule.
func rulesOf(t *testing.T, text string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "", text, 0)
	require.NoError(t, err)
	for _, declaration := range parsed.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		isRule := false // goes on with a constant that has neither type nor value
		for _, spec := range group.Specs {
			constant := spec.(*ast.ValueSpec)
			if selector, ok := constant.Type.(*ast.SelectorExpr); ok {
				isRule = selector.Sel.Name == "Rule"
			} else if constant.Type != nil || constant.Values != nil {
				isRule = false
			}
			for _, name := range constant.Names {
				if isRule && strings.HasPrefix(name.Name, "Rule") {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

// TestRulesAreFound: the test above sees what it looks for.
func TestRulesAreFound(t *testing.T) {
	require.Equal(t, []string{"RuleA", "RuleB", "RuleC", "RuleD"}, rulesOf(t, `package p
const (
	RuleA omit.Rule = iota
	RuleB
	RuleC, RuleD
	ruleCount
	RuleOfThumb = 3
	RuleOfThumbAgain
)
const RuleNone = 0
var RuleE omit.Rule`))
	require.Equal(t, map[string][]string{"a/b": {"RuleA", "RuleB"}, "c": {"RuleA"}}, rulesListed("# Rules\n## One (`a/b`)\n| Rule | x |\n|---|---|\n"+
		"| `RuleA` | `RuleX` |\n| `RuleB` | |\n## Two (`c`)\n| `RuleA` | |\n"))
}
