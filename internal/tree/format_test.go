package tree

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func id(n byte) string {
	return strings.Repeat("0", 30) + string("0123456789abcdef"[n/16]) + string("0123456789abcdef"[n%16])
}

func TestPageRoundTrip(t *testing.T) {
	p := &page{pages: 3}
	p.add(entry{name: "b c", kind: File, id: id(1)})
	p.add(entry{name: "a\n\"é", kind: Directory, id: id(2)})
	p.add(entry{name: "z", kind: Link, id: id(3)})
	p.remove("nothing")
	decoded, err := decodePage(p.encode())
	require.NoError(t, err)
	require.Equal(t, p, decoded)
	require.Equal(t, "a\n\"é", decoded.entries[0].name)
	p.remove("b c")
	require.Len(t, p.entries, 2)
}

func TestDecodePageRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"a file":           "file 1 0644 00\n",
		"no newline":       "directory 1",
		"cut short":        "directory 1\nf " + id(1) + ` "a"`,
		"a bad count":      "directory x\n",
		"a negative count": "directory -1\n",
		"an unknown kind":  "directory 1\nq " + id(1) + " \"a\"\n",
		"a bad id":         "directory 1\nf 12 \"a\"\n",
		"a bad name":       "directory 1\nf " + id(1) + " a\n",
		"an empty name":    "directory 1\nf " + id(1) + " \"\"\n",
		"twice a name":     "directory 1\nf " + id(1) + " \"a\"\nf " + id(2) + " \"a\"\n",
		"descending names": "directory 1\nf " + id(1) + " \"b\"\nf " + id(2) + " \"a\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodePage([]byte(text))
			require.ErrorIs(t, err, ErrFormat)
		})
	}
}

func TestDecodeRoot(t *testing.T) {
	got, err := decodeRoot(rootText(id(7)))
	require.NoError(t, err)
	require.Equal(t, id(7), got)
	for _, text := range []string{"", "root", "root 12\n", "directory 1\n"} {
		_, err := decodeRoot([]byte(text))
		require.ErrorIs(t, err, ErrFormat)
	}
}

// FuzzDecodePage: whatever decodes can be encoded and decodes to the same again.
func FuzzDecodePage(f *testing.F) {
	f.Add([]byte("directory 2\nd " + id(1) + " \"a\"\nf " + id(2) + " \"b\"\nl " + id(3) + " \"c\"\n"))
	f.Add([]byte("directory 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := decodePage(text)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			return
		}
		again, err := decodePage(p.encode())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}
