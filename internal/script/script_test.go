package script

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	steps, err := Parse(strings.NewReader("get a\n\n# a comment\n  put \"b c\" `d \"e`  # why\ndelete \"\\x00\\u00e9\"\nput empty \"\""))
	require.NoError(t, err)
	require.Equal(t, []Step{
		{Verb: Get, OID: "a"},
		{Verb: Put, OID: "b c", Value: `d "e`},
		{Verb: Delete, OID: "\x00é"},
		{Verb: Put, OID: "empty"},
	}, steps)
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       int
	}{
		{"an unknown verb", "get a\nfetch b", 2},
		{"too few arguments", "put a", 1},
		{"too many arguments", "get a b", 1},
		{"an open quote", `put a "b`, 1},
		{"a bad escape", `put a "\q"`, 1},
		{"no space after a quote", `put "a"b c`, 1},
		{"too many steps", strings.Repeat("get a\n", StepsMax+1), StepsMax + 1},
		{"too long a line", "get a\nput a " + strings.Repeat("x", LineBytesMax), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(c.text))
			require.ErrorIs(t, err, ErrSyntax)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, c.line, syntax.Line)
		})
	}
}

// FuzzParse: whatever parses can be written down quoted and parses to the same again.
func FuzzParse(f *testing.F) {
	f.Add("get a\nput \"b\" 1\ndelete c # d")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := Parse(strings.NewReader(text))
		if err != nil {
			require.ErrorIs(t, err, ErrSyntax)
			return
		}
		var again strings.Builder
		for _, step := range steps {
			again.WriteString(string(step.Verb) + " " + strconv.Quote(step.OID))
			if step.Verb == Put {
				again.WriteString(" " + strconv.Quote(step.Value))
			}
			again.WriteString("\n")
		}
		same, err := Parse(strings.NewReader(again.String()))
		require.NoError(t, err)
		require.Equal(t, steps, same)
	})
}
