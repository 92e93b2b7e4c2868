package registers

import (
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

const enough = time.Minute

func put(oid, value string, call, returned int64) porcupine.Operation {
	a := access{oid: oid, put: true, value: value}
	return porcupine.Operation{Input: a, Output: a, Call: call, Return: returned}
}

func get(oid, value string, call, returned int64) porcupine.Operation {
	a := access{oid: oid, value: value}
	return porcupine.Operation{Input: a, Output: a, Call: call, Return: returned}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name       string
		operations []porcupine.Operation
		good       bool
	}{
		{"nothing", nil, true},
		{"absent, then what was written", []porcupine.Operation{get("a", "", 1, 2), put("a", "x", 3, 4), get("a", "x", 5, 6)}, true},
		{"during the put either", []porcupine.Operation{put("a", "x", 1, 9), get("a", "", 2, 3), get("a", "x", 4, 5)}, true},
		{"back again during the put", []porcupine.Operation{put("a", "x", 1, 9), get("a", "x", 2, 3), get("a", "", 4, 5)}, false},
		{"what was overwritten", []porcupine.Operation{put("a", "x", 1, 2), put("a", "y", 3, 4), get("a", "x", 5, 6)}, false},
		{"a lost write", []porcupine.Operation{put("a", "x", 1, 2), get("a", "", 3, 4)}, false},
		{"what nobody wrote", []porcupine.Operation{get("a", "x", 1, 2)}, false},
		{"an unknown put that happens late", []porcupine.Operation{put("a", "x", 1, math.MaxInt64), get("a", "", 2, 3), get("a", "x", 4, 5)}, true},
		{"an unknown put that happens twice", []porcupine.Operation{
			put("a", "x", 1, math.MaxInt64), get("a", "x", 2, 3), put("a", "y", 4, 5), get("a", "x", 6, 7),
		}, false},
		{"objects apart", []porcupine.Operation{put("a", "x", 1, 2), put("b", "y", 3, 4), get("a", "x", 5, 6), get("b", "y", 7, 8)}, true},
		{"one of two objects", []porcupine.Operation{put("a", "x", 1, 2), put("b", "y", 3, 4), get("a", "x", 5, 6), get("b", "", 7, 8)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &History{operations: c.operations}
			if c.good {
				require.NoError(t, h.Check(enough))
			} else {
				require.ErrorIs(t, h.Check(enough), ErrNotLinearizable)
			}
		})
	}
}

func TestCheckNamesTheObject(t *testing.T) {
	h := &History{operations: []porcupine.Operation{get("good", "", 1, 2), get("bad", "x", 3, 4)}}
	require.ErrorContains(t, h.Check(enough), "bad, 1 operations")
	require.NotContains(t, h.Check(enough).Error(), "good")
}

// TestUndecidedIsNoPass: many puts whose time is open, and a read of none of them, have no quick answer.
func TestUndecidedIsNoPass(t *testing.T) {
	h := New()
	for range 40 {
		h.operations = append(h.operations, put("a", "same", 1, math.MaxInt64), put("a", "other", 1, math.MaxInt64))
	}
	h.operations = append(h.operations, get("a", "neither", 2, 3))
	require.ErrorIs(t, h.Check(time.Millisecond), ErrUndecided)
}
