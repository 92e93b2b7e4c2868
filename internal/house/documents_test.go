package house

import (
	"os"
	"path/filepath"
	"regexp"
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
	count := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, name := range named.FindAllString(string(text), -1) {
			require.True(t, exists[name], "%s names %s", filepath.Base(document), name)
			count++
		}
	}
	require.Greater(t, count, 100, "the test would prove nothing")
}
