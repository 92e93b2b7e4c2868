package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsNameTestsThatExist: a test that a document names as a witness is there, so that a claim whose test was
// renamed or removed is found.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	exists := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	require.NoError(t, filepath.WalkDir(root(t), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || len(path) < 8 || path[len(path)-8:] != "_test.go" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range declared.FindAllStringSubmatch(string(text), -1) {
			exists[found[1]] = true
		}
		return err
	}))
	documents, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	require.NoError(t, err)
	documents = append(documents, filepath.Join(root(t), "ARCHITECTURE.md"), filepath.Join(root(t), "README.md"))
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	count, missing := 0, []string{}
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, name := range named.FindAllString(string(text), -1) {
			if count++; !exists[name] {
				missing = append(missing, filepath.Base(document)+" names "+name)
			}
		}
	}
	require.Empty(t, missing)
	require.Greater(t, count, 100, "the test would prove nothing")
}

// TestDocumentsNameCasesThatExist: the same for the cases of the suite of the replication, as in TestConformance (AddAMember).
func TestDocumentsNameCasesThatExist(t *testing.T) {
	suite, err := os.ReadFile(filepath.Join(root(t), "replication", "replicationtest", "run.go"))
	require.NoError(t, err)
	exists := map[string]bool{}
	for _, found := range regexp.MustCompile(`\{"([A-Z]\w+)", `).FindAllStringSubmatch(string(suite), -1) {
		exists[found[1]] = true
	}
	require.Greater(t, len(exists), 50)
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "PAPER.md"))
	require.NoError(t, err)
	count := 0
	for _, named := range regexp.MustCompile(`TestConformance \(([\w, ]+)\)`).FindAllStringSubmatch(string(text), -1) {
		for _, name := range strings.Split(named[1], ", ") {
			require.True(t, exists[name], "PAPER.md names the case %s", name)
			count++
		}
	}
	require.Greater(t, count, 4, "the test would prove nothing")
}
